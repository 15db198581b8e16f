"""One loader, run stage after stage in front of one consumer, and timed.

    turn_to(stage) ─► drop what is in flight ─► time so many batches

A stage without a loader ("cached") begins once the workers have nothing left to do.

Guarantees
- every wait has a bound: a batch that takes longer than the loader's time-out raises;
- `close` ends the workers; harmless when called twice.
"""

import gc
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from wellfed._engine.experiments.rebuilt import end_workers
from wellfed._engine.experiments.replay import Step
from wellfed._engine.experiments.staged import Ask, Init, Staged, rest, spin
from wellfed._engine.experiments.twin import Asks, build
from wellfed.records import Plan

__all__ = ["Beats", "Course", "OutOfTime"]

# What the step runs on where the batch handed over is not the user's.
_WITHOUT_BATCH = frozenset({"collated", "tiny", "shadow", "files"})


# A batch that was asked for in time may come so much later.
PATIENCE_S = 10.0


class OutOfTime(Exception):
    """The time for experiments is over."""


class Beats(NamedTuple):
    """Seconds of each batch of a stage, in order."""

    periods_s: tuple[float, ...] = ()
    """Waiting for it and stepping on it."""
    steps_s: tuple[float, ...] = ()
    """The step alone."""

    def joined(self, other: "Beats") -> "Beats":
        """These and then those."""
        return Beats(self.periods_s + other.periods_s, self.steps_s + other.steps_s)


class Course:
    """A twin of the user's loader in front of a consumer; made and used by one thread."""

    def __init__(
        self,
        loader: Any,
        plan: Plan,
        indices: list[Any],
        step: Step,
        *,
        until_ns: int,
        init: Init | None = None,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Build the loader; its workers start with the first stage.

        Args:
            loader: the user's.
            plan: how batches are made here.
            indices: which batches.
            step: the consumer.
            until_ns: no batch is asked for after it.
            init: what runs in each worker; the user's own if not given.
            clock: monotonic nanoseconds.
        """
        self.plan = plan
        self._asks = Asks(indices)
        init = init if init is not None else Init(loader.worker_init_fn)
        self.until_ns = until_ns
        """No batch is asked for after it."""
        left_s = max(1.0, (until_ns - clock()) / 1e9)
        self._loader = build(loader, plan, self._asks, init, left_s + PATIENCE_S)
        self._step = step
        self._clock = clock
        self._iterator: Any = None
        self._turned = False

    @property
    def in_flight(self) -> int:
        """Batches to drop after a turn: those asked for before it, and one a worker more."""
        return self.plan.depth + self.plan.workers if self.plan.workers else 1

    def run(
        self,
        stage: str,
        batches: int,
        *,
        place: int | None = None,
        delay_s: float = 0.0,
        computes: bool = False,
        then_s: float = 0.0,
    ) -> Beats:
        """Turn to a stage and time it.

        Args:
            stage: a rung of the ladder, or "shadow": as is, with the step on cached batches.
            batches: how many are timed, after those in flight are dropped.
            place: which index batch the stage begins with; None goes on with the next.
            delay_s: added to the making of each batch.
            computes: whether added time is CPU time.
            then_s: added to each step.

        Raises:
            OutOfTime: the time is over.
        """
        if stage == "cached":
            self._idle()
        else:
            made = "as_is" if stage == "shadow" else stage
            self._asks.turn_to(Ask(made, None, delay_s, computes), place)
            for _ in range(self.in_flight):
                # They are of the stage before: no batches, perhaps, that the user's step knows.
                self._beat("shadow" if self._turned else stage, then_s, computes)
        self._turned = True
        beats = [self._beat(stage, then_s, computes) for _ in range(batches)]
        return Beats(tuple(period for period, _ in beats), tuple(step for _, step in beats))

    def _idle(self) -> None:
        """Leave the workers nothing to do: what is in flight is made, and queues fill at once."""
        self._asks.turn_to(Ask("tiny", None))
        for _ in range(self.in_flight if self.plan.workers else 0):
            self._next()

    def _beat(self, stage: str, then_s: float, computes: bool) -> tuple[float, float]:
        began = self._clock()
        if began > self.until_ns:
            raise OutOfTime
        batch = self._next() if stage != "cached" else None
        got = self._clock()
        self._step(None if stage in _WITHOUT_BATCH else batch)
        if then_s:
            (spin if computes else rest)(then_s)
        ended = self._clock()
        return (ended - began) / 1e9, (ended - got) / 1e9

    def _next(self) -> Any:
        if self._iterator is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._iterator = iter(self._loader)
        return next(self._iterator)

    def files(self, place: int, batches: int) -> tuple[str, ...]:
        """The files that reading so many index batches from `place` on opens."""
        self._asks.turn_to(Ask("files", None), place)
        self._turned = True
        found: dict[str, None] = {}
        for _ in range(self.in_flight + batches):
            seen = self._next()
            if isinstance(seen, tuple):
                found.update((one, None) for one in seen if isinstance(one, str))
        return tuple(found)

    def start_s(self) -> float:
        """Seconds that an epoch's start and end take: new workers, the first batch, their end."""
        self._end()
        began = self._clock()
        if began > self.until_ns:
            raise OutOfTime
        self._next()
        self._end()
        return (self._clock() - began) / 1e9

    def _end(self) -> None:
        """End the workers."""
        iterator, self._iterator = self._iterator, None
        end_workers(iterator)

    def close(self) -> None:
        """End the workers, and let go of what was kept."""
        self._end()
        dataset = self._loader.dataset
        if isinstance(dataset, Staged):
            dataset.close()
        gc.collect()  # an iterator that failed is held by its own traceback
