"""Runs a plan for a stretch, on a copy of the user's loader, and times it in steady state.

    first batch ─► what was in flight, dropped ─► timed batches ─► workers ended
    (start-up)     (a full buffer is no speed)    (seconds, memory in the middle and at the end)

Guarantees
- the batches are of the user's dataset, sampler and collate, drawn from copies;
- no stretch outlasts its time by more than one batch, and its workers end with it;
- a stretch whose workers come near the memory allowed is ended, and said to have failed: looked
  at before the first timed batch and some times a second from there on, always between batches.
"""

import gc
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import sqrt
from statistics import fmean, stdev
from types import MappingProxyType
from typing import Any, NamedTuple

import psutil
from torch.utils.data import DataLoader as TorchLoader

from wellfed._engine.experiments.rebuilt import arguments, end_workers
from wellfed._engine.experiments.replay import Step
from wellfed._loader import DataLoader
from wellfed._tuner.readings import Reading
from wellfed.records import Plan, amounts

__all__ = ["Stretch", "Trier"]

LEAST_BATCHES = 16
"""Timed batches below which a mean says little."""

NEAR_SHARE = 0.95
"""Of the memory allowed, where a stretch is ended: what grows would be past it by the next look."""

LOOK_EVERY_NS = 250_000_000
"""Between two looks at memory, where there is a limit."""

PATIENCE_S = 60.0
"""What a worker may take for a batch: one that hangs must not hang the search."""

BLOCKS = 8
"""Means of so many blocks tell the error of a mean, whatever follows what within them."""


class Stretch(NamedTuple):
    """What one stretch showed."""

    reading: Reading
    batches: int = 0
    first_batch_s: float = 0.0
    peak_bytes: int | None = None
    began_ns: int = 0
    """When its first timed batch was asked for."""
    ended_ns: int = 0
    gauges: Mapping[str, float] = MappingProxyType({})
    """What the machine did meanwhile: means, by name."""


class Trier:
    """Tries plans one after another. Used by one thread."""

    def __init__(
        self,
        loader: Any,
        indices: Sequence[Any],
        step: Step,
        *,
        stretch_s: float,
        memory_bytes: int | None = None,
        thread_safe: bool = False,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            loader: the user's.
            indices: index batches, drawn from a copy of its sampler.
            step: the consumer.
            stretch_s: seconds that are timed, at least; start-up comes on top.
            memory_bytes: what the workers of a plan may take; None for no limit.
            thread_safe: whether samples may be fetched by several threads.
            clock: monotonic nanoseconds.
        """
        self._loader = loader
        self._indices = _Round(indices)
        self._step = step
        self._stretch_ns = round(stretch_s * 1e9)
        self._memory_bytes = memory_bytes
        self._thread_safe = thread_safe
        self._clock = clock

    def try_out(self, plan: Plan) -> Stretch:
        """Run `plan` for one stretch. Never raises for what the plan or the dataset does."""
        iterator = None
        began = self._clock()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of more workers than cores: that is the question
                iterator = iter(self._twin(plan))
            self._step(next(iterator))
            first_s = (self._clock() - began) / 1e9
            self._guard(plan)
            self._drop(iterator, plan)
            self._guard(plan)
            return self._time(iterator, plan, first_s)
        except Exception as error:
            failed = Reading(plan=plan, failed=f"{type(error).__name__}: {error}")
            return Stretch(failed, began_ns=began, ended_ns=self._clock())
        finally:
            end_workers(iterator)
            del iterator
            gc.collect()

    def _drop(self, iterator: Iterator[Any], plan: Plan) -> None:
        """Take what was in flight at the start, and one a worker more; not for ever."""
        until = self._clock() + self._stretch_ns
        for _ in range(plan.depth + plan.workers):
            self._step(next(iterator))
            if self._clock() > until:
                return

    def _time(self, iterator: Iterator[Any], plan: Plan, first_s: float) -> Stretch:
        periods: list[float] = []
        peak: int | None = None
        began = before = looked = self._clock()
        half_ns = self._stretch_ns // 2
        while before - began < self._stretch_ns or len(periods) < LEAST_BATCHES:
            self._step(next(iterator))
            now = self._clock()
            periods.append((now - before) / 1e9)
            before = now
            if plan.workers and peak is None and now - began >= half_ns:
                peak = self._look()
                before = self._clock()
            elif now - looked >= LOOK_EVERY_NS:
                self._guard(plan)
                before = looked = self._clock()
            if now - began > 3 * self._stretch_ns:
                break
        ended = before
        if plan.workers:
            peak = max(peak or 0, self._look())
        reading = Reading(plan=plan, seconds=fmean(periods), error=_error(periods))
        return Stretch(reading, len(periods), first_s, peak, began, ended)

    def _guard(self, plan: Plan) -> None:
        """End a stretch that comes near the memory allowed.

        Resident memory counts shared pages for each worker, so it is never too little, and cheap
        to read; only where it is too much are page tables walked.
        """
        if self._memory_bytes is None or not plan.workers:
            return
        if _sum(_workers(), lambda one: one.memory_info().rss) > NEAR_SHARE * self._memory_bytes:
            self._look()

    def _look(self) -> int:
        """Memory of all workers now, shared pages divided.

        Raises:
            MemoryError: it is near what was allowed.
        """
        held = _sum(_workers(), lambda one: one.memory_full_info().pss)
        if self._memory_bytes is not None and held > NEAR_SHARE * self._memory_bytes:
            allowed = amounts.size(self._memory_bytes)
            raise MemoryError(f"its workers took {amounts.size(held)}, and {allowed} are allowed")
        return held

    def _twin(self, plan: Plan) -> Any:
        """The user's loader under another plan, on index batches of our own."""
        loader = self._loader
        given = arguments(loader, plan, init=loader.worker_init_fn, timeout_s=PATIENCE_S)
        given["collate_fn"] = loader.collate_fn
        if loader.batch_sampler is not None:
            given["batch_sampler"] = self._indices
        else:
            given |= {"sampler": self._indices, "batch_size": None}
        if plan.backend == "torch":
            return TorchLoader(loader.dataset, **given)
        return DataLoader(loader.dataset, plan=plan, thread_safe=self._thread_safe, **given)


def _workers() -> list[psutil.Process]:
    return psutil.Process(os.getpid()).children(recursive=True)


def _sum(processes: Sequence[psutil.Process], read: Callable[[psutil.Process], int]) -> int:
    total = 0
    for one in processes:
        try:
            total += read(one)
        except psutil.Error:
            continue  # it has just ended
    return total


class _Round:
    """Index batches without end: each stretch goes on where the one before it left off.

    So no stretch reads what the page cache has from the last one, while there is more to read.
    """

    def __init__(self, indices: Sequence[Any]) -> None:
        self._indices = indices
        self._place = 0

    def __iter__(self) -> Iterator[Any]:
        while True:
            index = self._indices[self._place % len(self._indices)]
            self._place += 1
            yield index


def _error(periods: Sequence[float]) -> float:
    """Relative standard error of the mean, by means of blocks: neighbours resemble each other."""
    blocks = min(BLOCKS, len(periods))
    if blocks < 2:
        return 1.0
    size = len(periods) // blocks
    means = [fmean(periods[place * size : (place + 1) * size]) for place in range(blocks)]
    return stdev(means) / sqrt(blocks) / fmean(periods)
