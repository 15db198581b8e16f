"""Which confirming experiments a case calls for, what each costs, and when enough is known. Pure.

    Case, Verdict ─ choose ─► Experiment, ... ─ (run elsewhere) ─► readings ─ prove ─► Proof

The ladder takes one cost after another away; the shadow run and the delays say whether a stage
really sets the pace; a factor changes one setting. An experiment that would tell nothing, take too
long or need too much memory is not run, and is listed with its reason all the same.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from wellfed._insight.estimate import difference, divide, mean_estimate, scale
from wellfed._insight.steady import find_steady, step_ns
from wellfed._insight.supply import forecast, stage_s
from wellfed.records import Case, Estimate, Failed, Outcome, Plan, Trace, Trial, Verdict, Vetoed
from wellfed.records.amounts import duration, size
from wellfed.records.proof import RUNGS

__all__ = [
    "Experiment",
    "beyond_ladder",
    "block_batches",
    "choose",
    "decided",
    "delay_decided",
    "delay_share",
    "expected_s",
    "factor_decided",
    "not_run",
    "replayed_steps",
    "slope",
]

# A change that the model expects less of is not worth the seconds of trying it.
WORTH_TRYING = 1.02

# Longer blocks average more; shorter ones follow a machine whose speed drifts. Half a second is
# some tens of scheduler periods, and a twentieth of the budget for one round of the ladder.
BLOCK_S = 0.4
LEAST_BATCHES = 12
MOST_BATCHES = 120

# A delay of 5 % leaves the pipeline what it was; noise may need more, up to a quarter.
LEAST_DELAY_SHARE = 0.05
MOST_DELAY_SHARE = 0.25

# A stage sets the pace if more than half of what is added to it is added to the period.
CRITICAL = 0.5

# Two runs of the same settings differ by as much.
NO_GAIN = 0.03

# Remedies of the binding finding that are tried: the best and its rival.
MOST_REMEDIES = 2

# What a run may take of what is free: the rest is for the estimate's own error.
MEMORY_SHARE = 0.8

# Steps that are replayed before they repeat.
MOST_STEPS = 512

QUESTIONS: Mapping[str, str] = {
    "as_is": "the period as it is",
    "warm": "the same samples again, from the page cache",
    "waits": "samples from memory, after the wait that reading them took",
    "memoised": "samples from memory",
    "collated": "collated in the worker, and not handed over",
    "tiny": "one element a batch: what the queue and Python cost",
    "cached": "the step alone",
    "shadow": "the step on batches it has, beside workers that work",
    "delay.worker": "whether the workers set the pace",
    "delay.trainer": "whether the trainer's own loop sets the pace",
}


class Experiment(NamedTuple):
    """One thing to try."""

    name: str
    kind: str
    """rung, shadow, delay or factor."""
    question: str
    plan: Plan | None = None
    """The plan to try; None for the loader's own."""
    change: str = ""
    """What else is changed in each worker: "affinity" or "one_thread"."""
    veto: str = ""
    """Why it is not run; "" if it is."""


def choose(
    case: Case, verdict: Verdict, *, budget_s: float, refused: str = ""
) -> tuple[Experiment, ...]:
    """The experiments that this case calls for, in the order to run them.

    Args:
        case: what was seen.
        verdict: what was made of it.
        budget_s: seconds that all of it may take.
        refused: why nothing can be run on a copy of this loader; "" if it can.
    """
    found = [*_ladder(case), *beyond_ladder(case, verdict)]
    veto = refused or _veto(case, budget_s)
    return tuple(one._replace(veto=veto or one.veto) for one in found)


def beyond_ladder(case: Case, verdict: Verdict) -> tuple[Experiment, ...]:
    """All but the ladder: they depend on the verdict, which the ladder may change."""
    return (
        *_remedies(case, verdict),
        *_in_workers(case, verdict),
        _SHADOW,
        *_delays(case),
        *_settings(case, verdict),
    )


def _veto(case: Case, budget_s: float) -> str:
    """Why nothing can be run at all."""
    if case.trace.world > 1:
        return "the other ranks of the run cannot be held up"
    round_s = _round_s(case)
    if round_s > budget_s:
        return f"one round of it takes {duration(round_s)}, and the budget is {duration(budget_s)}"
    need, free = _memory_bytes(case), _free_bytes(case)
    if free is not None and need > MEMORY_SHARE * free:
        return f"a second loader needs {size(need)}, and {size(free)} is free"
    return ""


def _ladder(case: Case) -> list[Experiment]:
    found = []
    for name in RUNGS:
        if name == "collated" and not case.plan.workers:
            continue  # without workers nothing is handed over
        veto = ""
        if name == "warm" and not _reads_files(case):
            veto = "no file was seen to be opened"
        found.append(Experiment(name, "rung", QUESTIONS[name], veto=veto))
    return found


def _reads_files(case: Case) -> bool:
    return bool(case.workload.sources) or bool(case.stats.read_bytes_per_batch)


_SHADOW = Experiment("shadow", "shadow", QUESTIONS["shadow"])


def _delays(case: Case) -> list[Experiment]:
    veto = "" if case.plan.workers else "without workers every delay is the trainer's own"
    return [
        Experiment(name, "delay", QUESTIONS[name], veto=veto)
        for name in ("delay.worker", "delay.trainer")
    ]


def _remedies(case: Case, verdict: Verdict) -> list[Experiment]:
    """The plans that the binding finding proposes."""
    bound = verdict.findings[0] if verdict.findings else None
    named = [
        Experiment(one.change, "factor", f"what {one.change} gains", plan=one.plan)
        for one in (bound.remedies if bound is not None else ())
        if one.plan is not None and one.plan.persistent == case.plan.persistent
    ]
    return named[:MOST_REMEDIES]


def _settings(case: Case, verdict: Verdict) -> list[Experiment]:
    """Single settings that the model expects something of, or that the verdict names."""
    plan = case.plan
    if not plan.workers:
        return []
    replace = msgspec.structs.replace
    tried = [
        ("in_order=False", replace(plan, in_order=False), "head_of_line"),
        (f"prefetch_factor={4 * (plan.prefetch or 2)}", _deeper(plan), "burst_jitter"),
        (f"pin_memory={not plan.pin_memory}", replace(plan, pin_memory=not plan.pin_memory), "pin"),
    ]
    return [
        Experiment(change, "factor", f"what {change} gains", plan=other, veto=veto)
        for change, other, name in tried
        if other != plan
        for veto in (_unpromising(case, verdict, other, name),)
    ]


def _deeper(plan: Plan) -> Plan:
    return msgspec.structs.replace(plan, prefetch=4 * (plan.prefetch or 2))


def _unpromising(case: Case, verdict: Verdict, plan: Plan, name: str) -> str:
    """Why trying a setting would tell nothing; "" if it might."""
    if any(one.name.startswith(name) for one in verdict.findings):
        return ""
    if plan.pin_memory != case.plan.pin_memory:
        return "no accelerator was used, so pages are not pinned" if not _pins(case) else ""
    told = forecast(case, plan)
    if told is None or told.gain.value < WORTH_TRYING:
        return "the model expects nothing of it"
    return ""


def _pins(case: Case) -> bool:
    return "pin" in case.stats.stages or case.trace.device != "cpu"


def _in_workers(case: Case, verdict: Verdict) -> list[Experiment]:
    """Causes that only a change inside the workers can prove."""
    names = {one.name for one in verdict.findings}
    wanted = (
        ("one thread a worker", "one_thread", "thread_oversubscription"),
        ("all cores for each worker", "affinity", "affinity_pinned"),
    )
    return [
        Experiment(
            name,
            "factor",
            f"what {name} gains",
            change=change,
            veto="" if named in names else "nothing points to it",
        )
        for name, change, named in wanted
        if case.plan.workers
    ]


# -- what it costs ---------------------------------------------------------------------------------


def block_batches(case: Case) -> int:
    """Batches that are timed at a stretch: whole turns of the workers, about half a second."""
    wanted = math.ceil(BLOCK_S / max(1e-6, case.stats.period_s.value))
    batches = min(MOST_BATCHES, max(LEAST_BATCHES, wanted))
    workers = max(1, case.plan.workers)
    return math.ceil(batches / workers) * workers


def expected_s(case: Case, experiments: Sequence[Experiment], budget_s: float) -> float:
    """Seconds that the experiments will take, as far as it can be told before."""
    if not any(not one.veto for one in experiments):
        return 0.0
    # A delay and a factor each take four blocks, of the period as it is at worst.
    blocks = 4 * sum(one.kind != "rung" and not one.veto for one in experiments)
    others_s = blocks * _block_s(case, case.stats.period_s.value)
    return min(budget_s, _start_s(case) + 2 * _round_s(case) + others_s)


def _round_s(case: Case) -> float:
    """Seconds of one way down the ladder and up again."""
    period_s, step_s = case.stats.period_s.value, stage_s(case, "step")
    return 2 * (3 * _block_s(case, period_s) + 4 * _block_s(case, step_s))


def _block_s(case: Case, period_s: float) -> float:
    return (case.plan.depth + case.plan.workers + block_batches(case)) * period_s


def _start_s(case: Case) -> float:
    seen = case.stats.startup_s
    return seen.value if seen is not None else 0.1 * case.plan.workers


def _memory_bytes(case: Case) -> float:
    """Memory of a second set of workers, of what is in flight, and of the samples they keep."""
    workers, batch = case.plan.workers, case.stats.payload_bytes or 0.0
    each = case.stats.gauges.get("workers_pss_bytes", 80e6 * workers) / max(1, workers)
    kept = 10 * min(batch, 64e6 / 10)
    return workers * (each + kept) + (case.plan.depth + 10) * batch


def _free_bytes(case: Case) -> float | None:
    machine = case.machine
    free = [float(machine.memory_available_bytes.value or 0) or math.inf]
    limit, used = machine.memory_limit_bytes.value, machine.memory_used_bytes.value
    if limit is not None and used is not None:
        free.append(float(max(0, limit - used)))
    least = min(free)
    return None if math.isinf(least) else least


# -- while it runs ---------------------------------------------------------------------------------


def decided(readings: Mapping[str, Sequence[float]]) -> bool:
    """Whether more rounds of the ladder would not change what it says.

    Each step down is known to a twentieth of the period, or is clearly apart from its rivals.
    """
    if "as_is" not in readings or "cached" not in readings:
        return False
    rungs = [mean_estimate(values) for values in readings.values()]
    period_s = rungs[0].value
    widest = max((one.high - one.low) / 2 for one in rungs)
    return widest <= 0.025 * period_s


def delay_share(period: Estimate) -> float:
    """Which part of the period to add, so that its effect stands out of the noise."""
    # Four half-widths: the difference of two such means is then known to about a third of it.
    return min(MOST_DELAY_SHARE, max(LEAST_DELAY_SHARE, 4 * period.spread))


def slope(base: Sequence[float], delayed: Sequence[float], added_s: float) -> Estimate:
    """The share of an added delay by which the period became longer."""
    return scale(difference(mean_estimate(delayed), mean_estimate(base)), 1 / added_s)


def delay_decided(base: Sequence[float], delayed: Sequence[float], added_s: float) -> bool:
    """Whether a delay clearly shows, or clearly does not."""
    shown = slope(base, delayed, added_s)
    return shown.low > CRITICAL or shown.high < CRITICAL


def factor_decided(base: Sequence[float], changed: Sequence[float]) -> bool:
    """Whether a change clearly gains, clearly gains nothing, or is known within 3 %."""
    old, new = mean_estimate(base), mean_estimate(changed)
    if not new.value:
        return True
    gain = divide(old, new)
    return gain.low > 1 + 2 * NO_GAIN or gain.high < 1 + NO_GAIN or gain.spread < NO_GAIN


def replayed_steps(trace: Trace) -> tuple[tuple[float, float], ...]:
    """The run's own steps, in their order: seconds that waited, and CPU seconds.

    More than one core at a time is replayed as one: the step takes as long, and leaves the others
    to the workers.
    """
    steady = find_steady(trace)
    steps = []
    for before, span in zip(steady.before, steady.spans, strict=True):
        took_s = step_ns(before, span) / 1e9
        cpu_s = took_s
        if span.asked_cpu_ns >= 0 and before.got_cpu_ns >= 0:
            cpu_s = min(took_s, max(0, span.asked_cpu_ns - before.got_cpu_ns) / 1e9)
        steps.append((took_s - cpu_s, cpu_s))
    return tuple(steps[:MOST_STEPS])


def not_run(one: Experiment, why: str = "", *, failed: bool = False) -> Trial:
    """The trial of an experiment that gave no number."""
    reason = why or one.veto
    outcome: Outcome = Failed(why=reason) if failed else Vetoed(why=reason)
    return Trial(
        name=one.name, kind=one.kind, question=one.question, plan=one.plan, outcome=outcome
    )
