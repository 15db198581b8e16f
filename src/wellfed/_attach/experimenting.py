"""Confirms a report by experiments: chooses them, has them run, and follows what they say.

    Report ─ choose ─► experiments ─ Bench ─► Proof ─ follow ─► Report

Guarantees
- nothing of the user's is drawn from, consumed or changed: see `_engine.experiments.twin`;
- a script's own step is never run again: its time and CPU use are replayed;
- it ends `budget_s` after it began, and a batch that was asked for by then.
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from wellfed._attach.bench import Bench
from wellfed._engine.experiments.replay import HandedOver, Replay, Step
from wellfed._engine.experiments.twin import untouched, why_not
from wellfed._insight.deciding import replayed_steps
from wellfed._insight.diagnose import build_case
from wellfed._insight.experiments import Experiment, beyond_ladder, choose, expected_s, not_run
from wellfed._insight.proof import follow
from wellfed.records import Case, Proof, Report

__all__ = ["experiment"]


def experiment(
    report: Report,
    loader: Any,
    *,
    step: Callable[[Any], object] | None = None,
    budget_s: float,
    ended: bool = False,
    tell: Callable[[str], None] | None = None,
) -> Report:
    """The report with its proof, and with the verdict that follows from it.

    Args:
        report: what was seen and judged.
        loader: the loader that it is about; None if it is gone.
        step: the user's own step; without it the steps of the run are replayed.
        budget_s: seconds that the experiments may take.
        ended: whether the user's program is over, so that its dataset may change.
        tell: shown what is going on, a line at a time.
    """
    rng = np.random.default_rng(0)
    case = build_case(report.machine, report.workload, report.trace, rng)
    if case is None:
        return report
    chosen = choose(case, report.verdict, budget_s=budget_s, refused=why_not(loader), ended=ended)
    say = tell or (lambda _: None)
    say(_announcement(case, chosen, budget_s))
    began = time.perf_counter()
    proof = Proof(trials=tuple(not_run(one) for one in chosen))
    if any(not one.veto for one in chosen):
        bench = Bench(case, loader, _consumer(case, step), budget_s=budget_s, tell=say)
        with untouched(loader):
            proof = bench.run(
                chosen,
                lambda seen: beyond_ladder(
                    case, follow(case, report.verdict, seen)[0], ended=ended
                ),
            )
    spent_s = time.perf_counter() - began
    proof = msgspec.structs.replace(proof, spent_s=spent_s, budget_s=budget_s)
    verdict, proof = follow(case, report.verdict, proof)
    return msgspec.structs.replace(report, verdict=verdict, proof=proof)


def _consumer(case: Case, step: Callable[[Any], object] | None) -> Step:
    return HandedOver(step) if step is not None else Replay(replayed_steps(case.trace))


def _announcement(case: Case, chosen: tuple[Experiment, ...], budget_s: float) -> str:
    tried = [one for one in chosen if not one.veto]
    if not tried:
        return f"no experiments: {chosen[0].veto}"
    seconds = expected_s(case, chosen, budget_s)
    return (
        f"{len(tried)} experiments on a copy of the loader, about {seconds:.0f} s and at most "
        f"{budget_s:g} s"
    )
