"""Which confirming experiments a case calls for, and what they will cost. Pure.

    Case, Verdict ─ choose ─► Experiment, ... ─ (run elsewhere) ─► readings ─ prove ─► Proof

The ladder takes one cost after another away; the shadow run and the delays say whether a stage
really sets the pace; a factor changes one setting. An experiment that would tell nothing, take too
long or need too much memory is not run, and is listed with its reason all the same.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from wellfed._insight.spending import block_s, round_s, starting_s, too_large
from wellfed._insight.supply import forecast, stage_s
from wellfed.records import Case, Failed, Outcome, Plan, Trial, Verdict, Vetoed
from wellfed.records.amounts import duration
from wellfed.records.proof import RUNGS

__all__ = [
    "Experiment",
    "beyond_ladder",
    "choose",
    "expected_s",
    "not_run",
]

# A change that the model expects less of is not worth the seconds of trying it.
WORTH_TRYING = 1.02

# Remedies of the binding finding that are tried: the best and its rival.
MOST_REMEDIES = 2

# A shorter step is mostly the clock's own error.
LEAST_STEP_SHARE = 0.02

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
    """rung, factor, start, shadow or delay."""
    question: str
    plan: Plan | None = None
    """The plan to try; None for the loader's own."""
    change: str = ""
    """What else is changed in each worker: "affinity" or "one_thread"."""
    veto: str = ""
    """Why it is not run; "" if it is."""


def choose(
    case: Case, verdict: Verdict, *, budget_s: float, refused: str = "", ended: bool = False
) -> tuple[Experiment, ...]:
    """The experiments that this case calls for, in the order to run them.

    Args:
        case: what was seen.
        verdict: what was made of it.
        budget_s: seconds that all of it may take.
        refused: why nothing can be run on a copy of this loader; "" if it can.
        ended: whether the user's program is over, so that its dataset may change.
    """
    found = [*_ladder(case), *beyond_ladder(case, verdict, ended=ended)]
    veto = refused or _veto(case, budget_s)
    return tuple(one._replace(veto=veto or one.veto) for one in found)


def beyond_ladder(case: Case, verdict: Verdict, *, ended: bool) -> tuple[Experiment, ...]:
    """All but the ladder: they depend on the verdict, which the ladder may change."""
    remedies = _remedies(case, verdict, ended)
    proposed = {one.plan for one in remedies}
    found = (
        *remedies,
        *_in_workers(case, verdict),
        *_starts(case, verdict),
        _shadow(case),
        *_delays(case),
        *(one for one in _settings(case, verdict) if one.plan not in proposed),
    )
    return tuple(
        one
        if one.veto or one.plan is None
        else one._replace(veto=too_large(case, case.plan, one.plan))
        for one in found
    )


def _veto(case: Case, budget_s: float) -> str:
    """Why nothing can be run at all."""
    if case.trace.world > 1:
        return "the other ranks of the run cannot be held up"
    needs_s = round_s(case)
    if needs_s > budget_s:
        return f"one round of it takes {duration(needs_s)}, and the budget is {duration(budget_s)}"
    return too_large(case, case.plan)


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


def _shadow(case: Case) -> Experiment:
    short = stage_s(case, "step") < LEAST_STEP_SHARE * case.stats.period_s.value
    veto = "the step is too short to be slowed" if short else ""
    return Experiment("shadow", "shadow", QUESTIONS["shadow"], veto=veto)


def _delays(case: Case) -> list[Experiment]:
    veto = "" if case.plan.workers else "without workers every delay is the trainer's own"
    return [
        Experiment(name, "delay", QUESTIONS[name], veto=veto)
        for name in ("delay.worker", "delay.trainer")
    ]


def _remedies(case: Case, verdict: Verdict, ended: bool) -> list[Experiment]:
    """The plans that the binding finding proposes."""
    bound = verdict.findings[0] if verdict.findings else None
    found = []
    for one in bound.remedies if bound is not None else ():
        if one.plan is None or (one.plan.persistent and not case.plan.persistent):
            continue  # that changes the start of epochs only
        moves = case.plan.workers and not one.plan.workers
        harmless = ended or case.workload.in_memory
        veto = "your own process would read samples, which may change the dataset"
        found.append(
            Experiment(
                one.change,
                "factor",
                f"what {one.change} gains",
                plan=one.plan,
                veto=veto if moves and not harmless else "",
            )
        )
    return found[:MOST_REMEDIES]


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


def _starts(case: Case, verdict: Verdict) -> list[Experiment]:
    """Other ways to start an epoch's workers, where starting them is what costs."""
    plan = case.plan
    if not plan.workers or plan.persistent:
        return []
    names = {one.name for one in verdict.findings}
    veto = "" if names & {"startup_respawn", "startup_pickle"} else "nothing points to it"
    if not veto and case.stats.epoch_s is None:
        veto = "no epoch was seen whole"
    replace = msgspec.structs.replace
    found = [("persistent_workers=True", replace(plan, persistent=True))]
    if plan.start_method == "spawn":
        found.append(
            ('multiprocessing_context="forkserver"', replace(plan, start_method="forkserver"))
        )
    return [
        Experiment(change, "start", f"what {change} gains", plan=other, veto=veto)
        for change, other in found
    ]


# -- what it costs ---------------------------------------------------------------------------------


def expected_s(case: Case, experiments: Sequence[Experiment], budget_s: float) -> float:
    """Seconds that the experiments will take, as far as it can be told before."""
    if not any(not one.veto for one in experiments):
        return 0.0
    # A delay and a factor each take four blocks, of the period as it is at worst.
    blocks = 4 * sum(one.kind != "rung" and not one.veto for one in experiments)
    others_s = blocks * block_s(case, case.stats.period_s.value)
    return min(budget_s, starting_s(case) + 2 * round_s(case) + others_s)


def not_run(one: Experiment, why: str = "", *, failed: bool = False) -> Trial:
    """The trial of an experiment that gave no number."""
    reason = why or one.veto
    outcome: Outcome = Failed(why=reason) if failed else Vetoed(why=reason)
    return Trial(
        name=one.name, kind=one.kind, question=one.question, plan=one.plan, outcome=outcome
    )
