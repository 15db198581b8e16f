"""The trials of a tuning as data: a table with the machine beside each, and a map of settings."""

from collections.abc import Mapping

from wellfed.records import Estimate, Failed, Measured, Plan, Report, Trial, Tuning, Vetoed
from wellfed.records._record import Record
from wellfed.records.amounts import size

__all__ = [
    "SettingsMap",
    "Spot",
    "TrialRow",
    "TrialTable",
    "rate_unit",
    "settings_map",
    "trial_table",
]

WITHIN = 1.02
"""Up to this ratio a plan is as good as the best."""

MOST_CORES = 4
"""Cores that are listed one by one; of more, how many were busy."""


class TrialRow(Record, frozen=True, kw_only=True):
    """One setting."""

    cells: tuple[str, ...]
    """Beside each head of the table; "" for what was not seen. MB/s and IOPS are what the disks
    read, swap is MB/s in and out, PSI the share of time in which some task waited, in per cent."""
    verdict: str
    """How it compares with the answer: "the answer", "12 % slower", "failed: ..."."""
    says: str
    """What each resource says, clauses joined."""
    chosen: bool


class TrialTable(Record, frozen=True, kw_only=True):
    """All settings that were run, and those that were not."""

    heads: tuple[str, ...]
    rows: tuple[TrialRow, ...]
    refused: tuple[str, ...]
    """Reasons, each with how many settings it kept out."""


def trial_table(report: Report) -> TrialTable | None:
    """The table; None if nothing was tuned."""
    tuning = report.tuning
    if tuning is None:
        return None
    per, unit = rate_unit(report)
    cores = _cores(tuning)
    run = [one for one in tuning.trials if not isinstance(one.outcome, Vetoed)]
    return TrialTable(
        heads=(
            "settings", unit, "core %" if cores else "cores", "queue", "MB/s", "IOPS", "swap",
            "memory", "PSI",
        ),
        rows=tuple(_row(one, tuning, per, cores) for one in run),
        refused=_refused(tuning),
    )  # fmt: skip


class Spot(Record, frozen=True, kw_only=True):
    """One setting of torch's loader on the map."""

    workers: int
    prefetch: int
    """Batches in the making for each worker; 0 without workers."""
    rate: float
    """Samples a second, batches where samples are not known."""
    measured: bool
    """Whether it was run; else the rate is the model's."""
    memory_bytes: int
    """Memory beyond that of the settings that were found, in bytes, as forecast."""
    chosen: bool


class SettingsMap(Record, frozen=True, kw_only=True):
    """Throughput over workers and depth, measured where it was run, with memory beside it."""

    unit: str
    spots: tuple[Spot, ...]
    """By workers, then by depth; settings that differ otherwise are left out."""
    limit_bytes: int | None
    """Memory that the workers of a plan were allowed; None without a limit."""


def settings_map(report: Report) -> SettingsMap | None:
    """The map as data, for a picture with contours of memory; None if nothing was tuned."""
    tuning = report.tuning
    if tuning is None or not tuning.expected:
        return None
    per, unit = rate_unit(report)
    run = {
        one.plan: one.outcome.seconds.value
        for one in tuning.trials
        if isinstance(one.outcome, Measured) and one.plan is not None
    }
    chosen = {one.plan for one in tuning.answers}
    spots = [
        Spot(
            workers=one.plan.workers,
            prefetch=one.plan.prefetch or 0,
            rate=per / max(1e-12, run.get(one.plan, one.seconds)),
            measured=one.plan in run,
            memory_bytes=one.memory_bytes,
            chosen=one.plan in chosen,
        )
        for one in tuning.expected
        if one.plan.pin_memory == tuning.present.pin_memory
    ]
    ordered = sorted(spots, key=lambda one: (one.workers, one.prefetch))
    return SettingsMap(unit=unit, spots=tuple(ordered), limit_bytes=tuning.memory_bytes)


def rate_unit(report: Report) -> tuple[float, str]:
    """Samples in a batch and "samples/s"; 1 and "batches/s" where that is not known."""
    per = report.stats.samples_per_batch if report.stats is not None else None
    return (per, "samples/s") if per else (1.0, "batches/s")


def _cores(tuning: Tuning) -> tuple[str, ...]:
    """Gauges of the cores that are listed one by one; empty where they are too many."""
    names = {name for one in tuning.trials for name in one.gauges if name.startswith("cpu_core_")}
    ordered = sorted(names, key=lambda name: int(name.rpartition("_")[2]))
    return tuple(ordered) if len(ordered) <= MOST_CORES else ()


def _row(trial: Trial, tuning: Tuning, per: float, cores: tuple[str, ...]) -> TrialRow:
    seen, outcome = trial.gauges, trial.outcome
    measured = outcome if isinstance(outcome, Measured) else None
    peak = measured.peak_bytes if measured is not None else None
    swap = [seen[name] for name in SWAP if name in seen]
    cells = (
        settings(trial),
        _speed(measured.seconds, per) if measured is not None else "",
        _busy(seen, cores),
        _number(seen.get("run_queue"), ".1f"),
        _number(seen.get("disk_read_bytes_per_s"), ".1f", 1e-6),
        _number(seen.get("disk_reads_per_s"), ",.0f"),
        _number(sum(swap) if swap else None, ".1f", 1e-6),
        size(peak) if peak else "",
        _pressure(seen),
    )
    chosen = any(one.plan == trial.plan for one in tuning.answers)
    return TrialRow(
        cells=cells, verdict=_verdict(trial, tuning, chosen), says=", ".join(trial.says),
        chosen=chosen,
    )  # fmt: skip


SWAP = ("swap_in_bytes_per_s", "swap_out_bytes_per_s")
PRESSURES = (
    ("cpu", "psi_cpu_some_share"),
    ("io", "psi_io_some_share"),
    ("mem", "psi_memory_some_share"),
)


def settings(trial: Trial) -> str:
    """A plan in a few characters: "torch 2×4 pin"."""
    plan = trial.plan or Plan()
    depth = f"×{plan.prefetch}" if plan.prefetch is not None else ""
    words = [trial.name.partition(":")[0], f"{plan.workers}{depth}"]
    if plan.threads:
        words.append(f"{plan.threads}thr")
    if plan.pin_memory:
        words.append("pin")
    if plan.start_method not in (None, "fork"):
        words.append(str(plan.start_method))
    return " ".join(words)


def _speed(seconds: Estimate, per: float) -> str:
    return f"{per / seconds.value:,.0f} ±{100 * min(9.99, seconds.spread):.0f} %"


def _busy(seen: Mapping[str, float], cores: tuple[str, ...]) -> str:
    if cores:
        return " ".join(f"{100 * seen[name]:.0f}" if name in seen else "?" for name in cores)
    return _number(seen.get("cpu_busy_cores"), ".1f")


def _number(value: float | None, form: str, scale: float = 1.0) -> str:
    return "" if value is None else format(value * scale, form)


def _pressure(seen: Mapping[str, float]) -> str:
    """The resource that tasks waited for longest."""
    pressed = [(seen[gauge], name) for name, gauge in PRESSURES if gauge in seen]
    share, name = max(pressed, default=(0.0, ""))
    return f"{name} {100 * share:.0f}" if name else ""


def _verdict(trial: Trial, tuning: Tuning, chosen: bool) -> str:
    outcome = trial.outcome
    if isinstance(outcome, Failed):
        return f"failed: {outcome.why}"
    answer = tuning.answer(trial.name.partition(":")[0])
    if not isinstance(outcome, Measured) or answer is None:
        return ""
    if chosen:
        return "the answer"
    ratio = outcome.seconds.value / answer.seconds.value
    if ratio <= WITHIN:
        return "as fast, but takes more" if ratio > 1 / WITHIN else "faster, but not by evidence"
    return f"{100 * (ratio - 1):.0f} % slower" if ratio < 1.5 else f"takes {ratio:.1f}x as long"


def _refused(tuning: Tuning) -> tuple[str, ...]:
    reasons: dict[str, int] = {}
    for one in tuning.trials:
        if isinstance(one.outcome, Vetoed):
            reasons[one.outcome.why] = reasons.get(one.outcome.why, 0) + 1
    return tuple(f"{n} settings: {why}" if n > 1 else f"1: {why}" for why, n in reasons.items())
