"""The sentences of a card that no rule wrote: the loader's call, side effects, small print."""

import shlex
from math import ceil

from wellfed._report.figures import Row
from wellfed.records import LoaderSeen, Plan, Remedy, Report, StageStats
from wellfed.records.amounts import duration, share, size

__all__ = ["basis", "loader_call", "settings", "side_effects", "watch_longer"]

# Watching twice as long narrows an interval by a third; less than this is no use after a run that
# saw too little.
LONGER_LEAST_S = 120

# Options that end the watching, and the words that each takes.
_LIMITS = {"--seconds": 2, "--steps": 2, "--full": 1}


def loader_call(report: Report) -> str:
    """The loader as one would write it: "DataLoader(ImageFolder, batch_size=64, ...)"."""
    workload, default = report.workload, settings(Plan())
    arguments = {"batch_size": str(workload.batch_size)} if workload.batch_size else {}
    arguments |= {
        name: value
        for name, value in settings(report.trace.plan).items()
        if name == "num_workers" or value != default[name]
    }
    written = ", ".join(f"{name}={value}" for name, value in arguments.items())
    return f"{_last(report.trace.loader)}({_last(workload.dataset)}, {written})"


def settings(plan: Plan) -> dict[str, str]:
    """A plan as arguments of torch's DataLoader, as written in Python."""
    return {
        "num_workers": str(plan.workers),
        "prefetch_factor": str(plan.prefetch),
        "pin_memory": str(plan.pin_memory),
        "persistent_workers": str(plan.persistent),
        "in_order": str(plan.in_order),
    }


def side_effects(remedy: Remedy) -> tuple[str, ...]:
    """What a remedy does besides being faster; that a setting changes no sample is worth saying."""
    effects = []
    if remedy.memory_bytes is not None:
        sign = "+" if remedy.memory_bytes > 0 else ""
        effects.append(
            f"RAM {sign}{size(remedy.memory_bytes)}" if remedy.memory_bytes else "no extra RAM"
        )
    if remedy.reproducibility:
        effects.append(remedy.reproducibility)
    elif remedy.plan is not None:
        effects.append("same samples, same order")
    return tuple(effects)


def watch_longer(report: Report) -> str:
    """The command that would see more than this run did, with the seconds to give it."""
    words, watched_s = list(report.command), report.trace.ended_ns / 1e9
    longer = ["--seconds", str(max(LONGER_LEAST_S, 60 * ceil(2 * watched_s / 60)))]
    if "diagnose" not in words:
        return shlex.join(["wellfed", "diagnose", *longer, "train.py"])
    after = words.index("diagnose") + 1
    script = after
    # Up to the script these are ours; after it, a `--seconds` is the script's own.
    while script < len(words) and words[script] in _LIMITS:
        script += _LIMITS[words[script]]
    if "--full" in words[after:script]:
        return f"more epochs in the script: it ended by itself after {duration(watched_s)}"
    return shlex.join([*words[:after], *longer, *words[script:]])


def basis(report: Report) -> tuple[Row, ...]:
    """What the verdict rests on: how much was seen, how, and what it cost."""
    stats, trace = report.stats, report.trace
    rows = [Row(label="watched", text=_watched(report))]
    if stats and stats.cold_batches:
        cold = stats.cold_batches
        first = "the first batch" if cold == 1 else f"the first {cold} batches"
        text = (
            f"{first} came from storage, later ones from memory: "
            "a first epoch is slower than this card says"
        )
        rows.append(Row(label="cold", text=text))
    if trace.others:
        rows.append(Row(label="others", text=_others(trace.others)))
    if stats and stats.watch_s:
        rows.append(Row(label="overhead", text=_overhead(stats)))
    return tuple(rows)


def _watched(report: Report) -> str:
    stats, trace = report.stats, report.trace
    if stats is None:
        seen = sum(epoch.batches for epoch in trace.epochs) or len(trace.spans)
        text = f"{_count(seen, 'batch', 'batches')}, too few to time a step"
    else:
        text = f"{_count(stats.batches, 'batch', 'batches')} in {duration(stats.window_s)}"
        if stats.warmup:
            text += f", after {stats.warmup} of warm-up"
    if trace.world > 1:
        text += f", on rank {trace.rank} of {trace.world}"
        if trace.ranks:
            text += f"; {len(trace.ranks)} ranks heard"
    if trace.ended_because == "raised":
        text += "; then the script failed"
    return text


def _others(others: tuple[LoaderSeen, ...]) -> str:
    waited = duration(sum(other.wait_s for other in others))
    named = ", ".join(str(other.site or other.dataset) for other in others[:2])
    more = f" and {len(others) - 2} more" if len(others) > 2 else ""
    return f"{_count(len(others), 'other loader')}, {waited} of waiting: {named}{more}"


def _overhead(stats: StageStats) -> str:
    period = stats.period_s.value
    part = f" ({share(stats.watch_s / period)} of the step)" if period else ""
    return f"watching cost {duration(stats.watch_s)} a batch{part}"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _last(dotted: str) -> str:
    """A class without its module: the reader knows where ImageFolder lives."""
    return dotted.rpartition(".")[2]
