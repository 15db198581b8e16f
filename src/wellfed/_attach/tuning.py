"""Finds the best settings for a loader by a few measured trials: for torch's, then for ours.

    Report ─► Case ─ space ─► choices ─┐
                    ┌── ask ◄──────────┤  a plan, tried on a copy of the loader, is a reading
                    └─► Trials ────────┘
             torch's best ─► the same search among wellfed's plans ─► Tuning

    Report ─► Case ─ swept_space ─► every combination, in turn, as often as fits ─► Tuning

Guarantees
- a script's own batches are never replaced: its steps are replayed, unless the step was given;
- no plan whose forecast exceeds the memory allowed is tried;
- Ctrl-C ends the search, and the best so far is the answer.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import product
from typing import Any

import msgspec
import numpy as np
import torch

from wellfed._attach.trials import Lines, Trials, readings_of
from wellfed._attach.trying import Stretch, Trier
from wellfed._attach.wanted import Wanted
from wellfed._engine.experiments.replay import HandedOver, Replay, Step
from wellfed._engine.experiments.twin import index_batches, untouched, why_not
from wellfed._insight.deciding import replayed_steps
from wellfed._insight.diagnose import build_case
from wellfed._insight.predict import predict_period
from wellfed._planned.key import key_of
from wellfed._tuner.answer import answer_of, expected_of, trials_of
from wellfed._tuner.search import Ask, Stop, ask, best_of
from wellfed._tuner.space import Space, first_of, own_space, space
from wellfed._tuner.sweep import Knobs, checked_knobs, swept_space
from wellfed.errors import NoVerdict
from wellfed.records import Answer, Case, Plan, Report, Trial, Tuning

__all__ = ["tune"]

# Of the budget, one stretch of one plan: six plans and some turns have to fit, twice.
STRETCH_SHARE = 1 / 32
STRETCH_LEAST_S, STRETCH_MOST_S = 0.5, 3.0

TORCH_SHARE = 0.6
"""Of the budget, for torch's own loader: its search starts from nothing, ours from its answer."""

ROUNDS = 3
"""Times that each combination of a sweep is run, if they fit; starting takes as long again."""

LOADERS = ("torch", "wellfed")


def tune(
    report: Report,
    loader: Any,
    wanted: Wanted,
    *,
    step: Callable[[Any], object] | None = None,
) -> Report:
    """The report with a tuning of the loader that it is about.

    Args:
        report: what was seen of the present settings.
        loader: the loader; None if it is gone.
        wanted: what to do, and within what.
        step: the user's own step; without it the steps of the run are replayed.

    Raises:
        NoVerdict: nothing can be tried on this loader; says why.
        UsageError: what is to be swept is no setting.
    """
    knobs = None if wanted.sweep is None else checked_knobs(wanted.sweep)
    case = build_case(report.machine, report.workload, report.trace, np.random.default_rng(0))
    refused = why_not(loader, ours=True)
    if case is None or refused:
        raise NoVerdict(f"nothing can be tried: {refused or 'too few batches were seen'}.")
    consumer: Step = HandedOver(step) if step is not None else Replay(replayed_steps(case.trace))
    tuner = _Tuner(case, loader, consumer, wanted)
    with untouched(loader), closing(consumer):
        tuning = tuner.search() if knobs is None else tuner.sweep(knobs)
    key = key_of(loader.dataset, loader.collate_fn, loader.batch_size, report.machine)
    return msgspec.structs.replace(report, tuning=msgspec.structs.replace(tuning, key=key))


class _Tuner:
    """One tuning; used once, by one thread."""

    def __init__(self, case: Case, loader: Any, consumer: Step, wanted: Wanted) -> None:
        self._case = case
        self._loader = loader
        self._consumer = consumer
        self._wanted = wanted
        self._memory_bytes = wanted.memory_bytes
        self._thread_safe = bool(getattr(loader, "thread_safe", False))

    def search(self) -> Tuning:
        """A few trials, led by the model; where wellfed's loader ran, torch's with its settings."""
        present = self._case.plan
        own_ran = present.backend != "torch"
        torchs_plan = msgspec.structs.replace(present, backend="torch", threads=0)
        trace = msgspec.structs.replace(self._case.trace, plan=torchs_plan)
        case = msgspec.structs.replace(self._case, trace=trace)
        found = space(case, np.random.default_rng(0), spare_bytes=self._spare_bytes())
        with closing(self._trials(STRETCH_SHARE)) as trials:
            torchs, first = _searched(trials, found, TORCH_SHARE)
            expects = self._expects if self._thread_safe else None
            ours = own_space(found, readings_of(first), expects)
            ours = first_of(ours, present) if own_ran else ours
            own, second = _searched(trials, ours, 1.0)
            first, second = trials.close(first, second)
        base = second if own_ran and second else first
        answers = answer_of("torch", first, torchs, base), answer_of("wellfed", second, own, base)
        listed = trials_of("torch", found, first, base)
        listed += trials_of("wellfed", ours, second, base)
        expected = expected_of(found, readings_of(first))
        return msgspec.structs.replace(self._tuning(trials, listed, answers), expected=expected)

    def sweep(self, knobs: Knobs) -> Tuning:
        """Every combination in turn, A B C A B C, until the time is over."""
        found = swept_space(
            self._case,
            knobs,
            np.random.default_rng(0),
            can_pin=torch.accelerator.is_available(),
            spare_bytes=self._spare_bytes(),
        )
        stretches = 2 * ROUNDS * len(found.choices)
        tried: list[Stretch] = []
        with closing(self._trials(1 / stretches)) as trials:
            with trials.interruptible():
                for number, one in product(range(ROUNDS), found.choices):
                    if not trials.over():
                        tried.append(trials.run(Ask(plan=one.plan, why=f"round {number + 1}")))
            (tried,) = trials.close(tried)
        answers: list[Answer | None] = []
        listed: tuple[Trial, ...] = ()
        for loader in LOADERS:
            own, some = _own(loader, found, tried)
            best = Stop(best=best_of(own, readings_of(some)), why="the best of the sweep")
            answers.append(answer_of(loader, some, best, tried))
            listed += trials_of(loader, own, some, tried)
        swept = {name: tuple(str(one) for one in values) for name, values in knobs.items()}
        return msgspec.structs.replace(self._tuning(trials, listed, answers), swept=swept)

    def _expects(self, plan: Plan) -> float:
        return predict_period(self._case, plan, np.random.default_rng(0)).value

    def _trials(self, stretch_share: float) -> Trials:
        wanted = self._wanted
        stretch_s = stretch_share * wanted.budget_s
        trier = Trier(
            self._loader,
            index_batches(self._loader),
            self._consumer,
            stretch_s=min(STRETCH_MOST_S, max(STRETCH_LEAST_S, stretch_s)),
            memory_bytes=self._memory_bytes,
            thread_safe=self._thread_safe,
        )
        told = wanted.follower or Lines(wanted.tell or (lambda _: None))
        return Trials(trier, told, budget_s=wanted.budget_s)

    def _tuning(
        self, trials: Trials, listed: tuple[Trial, ...], answers: Sequence[Answer | None]
    ) -> Tuning:
        return Tuning(
            present=self._case.plan,
            trials=listed,
            answers=tuple(one for one in answers if one is not None),
            spent_s=trials.spent_s,
            budget_s=trials.budget_s,
            memory_bytes=self._memory_bytes,
            interrupted=trials.interrupted,
        )

    def _spare_bytes(self) -> float | None:
        """Memory beyond that of the present workers; None without a limit."""
        if self._memory_bytes is None:
            return None
        return self._memory_bytes - self._case.stats.gauges.get("workers_pss_bytes", 0.0)


def _searched(trials: Trials, found: Space, share: float) -> tuple[Stop, list[Stretch]]:
    tried: list[Stretch] = []
    with trials.interruptible():
        while not trials.over(share):
            step = ask(found, readings_of(tried))
            if isinstance(step, Stop):
                return step, tried
            tried.append(trials.run(step))
    return Stop(best=best_of(found, readings_of(tried)), why="the time was over"), tried


def _own(loader: str, found: Space, tried: Sequence[Stretch]) -> tuple[Space, list[Stretch]]:
    """What belongs to one of the two loaders."""
    torchs = loader == "torch"
    own = Space(
        choices=tuple(one for one in found.choices if (one.plan.backend == "torch") == torchs),
        refused=tuple(one for one in found.refused if (one[0].backend == "torch") == torchs),
        cores=found.cores,
    )
    some = [one for one in tried if (one.reading.plan.backend == "torch") == torchs]
    return own, some
