"""Tables as data: ranks, experiments and settings that were tried, row by row.

Each says in words how to read it, and each column what its numbers are.
"""

import msgspec

from wellfed.records import Failed, Measured, Plan, RankSeen, Report, Trial, Vetoed
from wellfed.records._record import Record
from wellfed.records.amounts import change, duration, share, size

__all__ = ["Column", "Table", "experiments", "ranks", "settings"]


class Column(Record, frozen=True, kw_only=True):
    """One column."""

    label: str
    meaning: str
    """What its numbers are, in plain words."""


class Table(Record, frozen=True, kw_only=True):
    """Rows of words under columns that explain themselves."""

    name: str
    title: str
    reading: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: tuple[int, ...] = ()
    """Rows to be seen first."""


Named = tuple[tuple[str, str], ...]


def _columns(named: Named) -> tuple[Column, ...]:
    return tuple(Column(label=label, meaning=meaning) for label, meaning in named)


def _table(table: Table) -> Table:
    """The table without columns in which nothing is said."""
    said = [n for n in range(len(table.columns)) if any(row[n] for row in table.rows)]
    return msgspec.structs.replace(
        table,
        columns=tuple(table.columns[n] for n in said),
        rows=tuple(tuple(row[n] for n in said) for row in table.rows),
    )


RANKS = _columns(
    (
        ("rank", "The process's place in the distributed run"),
        ("step", "Mean time from one batch to the next"),
        ("waiting for data", "Mean time of it inside next(), waiting for the batch"),
        ("its own", "The rest: its step, with whatever it waits for other ranks in it"),
        ("workers", "Workers of its loader"),
        ("cores busy", "Cores that it and its workers kept busy"),
        ("without a core", "Share of a fetch in which its workers were ready and had no core"),
        ("batches", "Steady batches that the means rest on"),
    )
)


def ranks(report: Report) -> Table | None:
    """Every rank of a distributed run beside the others."""
    seen = sorted(report.trace.ranks, key=lambda one: one.rank)
    if len(seen) < 2:
        return None
    latest = max(range(len(seen)), key=lambda place: seen[place].wait_s)
    return _table(
        Table(
            name="ranks",
            title=f"{len(seen)} of {max(len(seen), report.trace.world)} ranks",
            reading=(
                "Ranks step together: one that waits long for data makes the others wait for it, "
                "inside what looks like their own step. Marked is the one that waits longest."
            ),
            columns=RANKS,
            rows=tuple(_rank(one) for one in seen),
            marked=(latest,),
        )
    )


def _rank(one: RankSeen) -> tuple[str, ...]:
    return (
        str(one.rank),
        duration(one.period_s),
        duration(one.wait_s),
        duration(one.step_s),
        str(one.workers),
        f"{one.busy_cores:.1f}",
        share(one.queue_share),
        str(one.batches),
    )


EXPERIMENTS = _columns(
    (
        ("experiment", "What was changed on a copy of the loader"),
        ("question", "What that asks"),
        ("a batch takes", "Measured seconds per batch, with half the 90 % interval"),
        ("effect", "The answer: a factor's change of speed, or the share of a delay that is felt"),
        ("batches", "Batches behind it, warm-up left out"),
    )
)

WORDS = {
    "as_is": "as it is",
    "warm": "files in memory",
    "waits": "without waiting",
    "memoised": "samples remembered",
    "collated": "batches remembered",
    "tiny": "tiny batches",
    "cached": "batches at hand, no loader",
    "shadow": "your step beside workers",
    "delay.worker": "a delay in the workers",
    "delay.trainer": "a delay in your loop",
}


def experiments(report: Report) -> Table | None:
    """Every experiment of a deep diagnosis, also those that could not be run."""
    proof = report.proof
    if proof is None or not proof.trials:
        return None
    return _table(
        Table(
            name="experiments",
            title="The experiments",
            reading=(
                "Costs are taken away one after another, each on top of the one before: what a "
                "step gets faster by is what that cost was. The others change one thing alone."
            ),
            columns=EXPERIMENTS,
            rows=tuple(_experiment(one) for one in proof.trials),
        )
    )


def _experiment(trial: Trial) -> tuple[str, ...]:
    seconds, batches = _outcome(trial)
    return (WORDS.get(trial.name, trial.name), trial.question, seconds, _effect(trial), batches)


def _outcome(trial: Trial) -> tuple[str, str]:
    """Seconds per batch with their margin and the batches behind them, or why there are none."""
    match trial.outcome:
        case Measured(seconds=seconds, batches=batches):
            margin = (seconds.high - seconds.low) / 2
            return f"{duration(seconds.value)} ± {duration(margin)}", str(batches)
        case Failed(why=why):
            return f"failed: {why}", ""
        case Vetoed(why=why):
            return f"not tried: {why}", ""


def _effect(trial: Trial) -> str:
    if not isinstance(trial.outcome, Measured) or trial.outcome.effect is None:
        return ""
    effect = trial.outcome.effect
    if trial.kind in ("factor", "start", "setting"):
        return f"{change(effect.value)} ({change(effect.low)} to {change(effect.high)})"
    return f"{share(effect.value)} ({share(effect.low)} to {share(effect.high)})"


SETTINGS = _columns(
    (
        ("loader", "Whose DataLoader ran: torch's, or wellfed's drop-in"),
        ("num_workers", "Processes that make batches"),
        ("prefetch_factor", "Batches ahead, for each worker"),
        ("also", "Other settings that differ from the default"),
        ("speed", "Measured with your step, with half the 90 % interval"),
        ("against yours", "Change of speed against the settings that were found"),
        ("first batch", "From the start of an epoch to its first batch"),
        ("workers' memory", "Most that was seen, shared pages divided among those who share"),
    )
)


def settings(report: Report) -> Table | None:
    """Every setting that tuning tried or refused."""
    tuning = report.tuning
    if tuning is None or not tuning.trials:
        return None
    per = (report.stats and report.stats.samples_per_batch) or 1.0
    unit = "samples/s" if report.stats and report.stats.samples_per_batch else "batches/s"
    chosen = {answer.plan for answer in tuning.answers}
    return _table(
        Table(
            name="tried",
            title="Every setting that was tried",
            reading=(
                "Each ran in turn with others on a copy of the loader, with your step's own time "
                "between batches. Marked are the answers; what was not tried says why."
            ),
            columns=SETTINGS,
            rows=tuple(_setting(one, per, unit) for one in tuning.trials),
            marked=tuple(n for n, one in enumerate(tuning.trials) if one.plan in chosen),
        )
    )


def _setting(trial: Trial, per: float, unit: str) -> tuple[str, ...]:
    plan, loader = trial.plan or Plan(), trial.name.partition(":")[0]
    asked = (loader, str(plan.workers), str(plan.prefetch or "–"), _others(plan))
    if not isinstance(trial.outcome, Measured):
        return (*asked, _outcome(trial)[0], "", "", "")
    seen = trial.outcome
    speed = f"{per / seen.seconds.value:,.0f} {unit} ± {share(min(9.99, seen.seconds.spread))}"
    first = duration(seen.first_batch_s) if seen.first_batch_s is not None else ""
    memory = size(seen.peak_bytes) if seen.peak_bytes is not None else ""
    return (*asked, speed, _effect(trial), first, memory)


def _others(plan: Plan) -> str:
    named = {
        "pin_memory": plan.pin_memory,
        "persistent_workers": plan.persistent,
        f"{plan.threads} threads": plan.threads > 0,
    }
    return ", ".join(name for name, on in named.items() if on)
