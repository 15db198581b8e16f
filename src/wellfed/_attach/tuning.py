"""Finds the best settings for a loader by a few measured trials: for torch's, then for ours.

    Report ─► Case ─ space ─► choices ─┐
                    ┌── ask ◄──────────┤  a plan, tried on a copy of the loader, is a reading
                    └─► Trier ─────────┘
             torch's best ─► the same search among wellfed's plans ─► Tuning

Guarantees
- a script's own batches are never replaced: its steps are replayed, unless the step was given;
- no plan whose forecast exceeds the memory allowed is tried;
- Ctrl-C ends the search, and the best so far is the answer.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from wellfed._attach.trying import Stretch, Trier
from wellfed._engine.experiments.replay import HandedOver, Replay, Step
from wellfed._engine.experiments.twin import index_batches, untouched, why_not
from wellfed._insight.deciding import replayed_steps
from wellfed._insight.diagnose import build_case
from wellfed._tuner.answer import answer_of, trials_of
from wellfed._tuner.readings import Reading
from wellfed._tuner.search import Ask, Stop, ask, best_of
from wellfed._tuner.space import Space, own_space, space
from wellfed.errors import NoVerdict
from wellfed.records import Case, Plan, Report, Tuning

__all__ = ["tune"]

Progress = Callable[[str], None]

# Of the budget, one stretch of one plan: six plans and some turns have to fit, twice.
STRETCH_SHARE = 1 / 32
STRETCH_LEAST_S, STRETCH_MOST_S = 0.5, 3.0

TORCH_SHARE = 0.6
"""Of the budget, for torch's own loader: its search starts from nothing, ours from its answer."""


def tune(
    report: Report,
    loader: Any,
    *,
    step: Callable[[Any], object] | None = None,
    budget_s: float,
    memory_bytes: int | None = None,
    tell: Progress | None = None,
) -> Report:
    """The report with a tuning of the loader that it is about.

    Args:
        report: what was seen of the present settings.
        loader: the loader; None if it is gone.
        step: the user's own step; without it the steps of the run are replayed.
        budget_s: seconds that all trials may take.
        memory_bytes: what the workers of a plan may take; None for no limit.
        tell: shown what is tried, a line at a time.

    Raises:
        NoVerdict: nothing can be tried on this loader; says why.
    """
    case = build_case(report.machine, report.workload, report.trace, np.random.default_rng(0))
    refused = why_not(loader)
    if case is None or refused:
        raise NoVerdict(f"nothing can be tried: {refused or 'too few batches were seen'}.")
    consumer: Step = HandedOver(step) if step is not None else Replay(replayed_steps(case.trace))
    tuner = _Tuner(case, loader, consumer, budget_s, memory_bytes, tell or (lambda _: None))
    with untouched(loader):
        tuning = tuner.run()
    return msgspec.structs.replace(report, tuning=tuning)


class _Tuner:
    """One tuning; used once, by one thread."""

    def __init__(
        self,
        case: Case,
        loader: Any,
        consumer: Step,
        budget_s: float,
        memory_bytes: int | None,
        tell: Progress,
    ) -> None:
        self._case = case
        self._budget_s = budget_s
        self._memory_bytes = memory_bytes
        self._tell = tell
        self._began = time.perf_counter()
        self._interrupted = False
        stretch_s = min(STRETCH_MOST_S, max(STRETCH_LEAST_S, STRETCH_SHARE * budget_s))
        self._thread_safe = bool(getattr(loader, "thread_safe", False))
        self._trier = Trier(
            loader,
            index_batches(loader),
            consumer,
            stretch_s=stretch_s,
            memory_bytes=memory_bytes,
            thread_safe=self._thread_safe,
        )

    def run(self) -> Tuning:
        case = self._case
        found = space(case, np.random.default_rng(0), spare_bytes=self._spare_bytes())
        torchs, readings = self._search(found, TORCH_SHARE)
        answers = [answer_of("torch", readings, torchs)]
        trials = trials_of("torch", found, readings)
        if not self._interrupted:
            ours = own_space(found, _readings(readings), self._thread_safe)
            own, others = self._search(ours, 1.0)
            answers.append(answer_of("wellfed", others, own, base=readings))
            trials += trials_of("wellfed", ours, others)
        return Tuning(
            present=case.plan,
            trials=trials,
            answers=tuple(one for one in answers if one is not None),
            spent_s=time.perf_counter() - self._began,
            budget_s=self._budget_s,
            memory_bytes=self._memory_bytes,
            interrupted=self._interrupted,
        )

    def _search(self, found: Space, share: float) -> tuple[Stop, list[Stretch]]:
        tried: list[Stretch] = []
        until = self._began + share * self._budget_s
        while True:
            step = ask(found, _readings(tried))
            if isinstance(step, Stop):
                return step, tried
            if self._interrupted or time.perf_counter() > until:
                best = best_of(found, _readings(tried))
                return Stop(best=best, why="the time was over"), tried
            tried += self._try_out(step)

    def _try_out(self, step: Ask) -> list[Stretch]:
        spent_s = time.perf_counter() - self._began
        self._tell(f"{spent_s:3.0f} s  {_named(step.plan)}: {step.why}")
        try:
            return [self._trier.try_out(step.plan)]
        except KeyboardInterrupt:
            self._interrupted = True
            return []

    def _spare_bytes(self) -> float | None:
        """Memory beyond that of the present workers; None without a limit."""
        if self._memory_bytes is None:
            return None
        return self._memory_bytes - self._case.stats.gauges.get("workers_pss_bytes", 0.0)


def _readings(stretches: Sequence[Stretch]) -> list[Reading]:
    return [one.reading for one in stretches]


def _named(plan: Plan) -> str:
    loader = "torch" if plan.backend == "torch" else f"wellfed, {plan.backend}"
    depth = f", prefetch_factor={plan.prefetch}" if plan.workers else ""
    threads = f", {plan.threads} threads each" if plan.threads else ""
    return f"{loader}: num_workers={plan.workers}{depth}{threads}"
