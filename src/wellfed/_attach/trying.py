"""Runs a plan for a stretch, on a copy of the user's loader, and times it in steady state.

    first batch ─► what was in flight, dropped ─► timed batches ─► workers ended
    (start-up)     (a full buffer is no speed)    (seconds, memory in the middle and at the end)

Guarantees
- the batches are of the user's dataset, sampler and collate, drawn from copies;
- no stretch outlasts its time by more than one batch, and its workers end with it;
- a stretch whose workers outgrow the memory allowed is ended, and said to have failed.
"""

import gc
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import Any, NamedTuple

import psutil
import torch
from torch.utils.data import DataLoader as TorchLoader

from wellfed._engine.experiments.replay import Step
from wellfed._loader import DataLoader
from wellfed._tuner.readings import Reading
from wellfed.records import Plan, amounts

__all__ = ["Stretch", "Trier"]

LEAST_BATCHES = 16
"""Timed batches below which a mean says little."""

BLOCKS = 8
"""Means of so many blocks tell the error of a mean, whatever follows what within them."""


class Stretch(NamedTuple):
    """What one stretch showed."""

    reading: Reading
    batches: int = 0
    first_batch_s: float = 0.0
    peak_bytes: int | None = None


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
        try:
            began = self._clock()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of more workers than cores: that is the question
                iterator = iter(self._twin(plan))
            self._step(next(iterator))
            first_s = (self._clock() - began) / 1e9
            self._drop(iterator, plan)
            return self._time(iterator, plan, first_s)
        except Exception as error:
            return Stretch(Reading(plan=plan, failed=f"{type(error).__name__}: {error}"))
        finally:
            end = getattr(iterator, "_shutdown_workers", None)
            if end is not None:
                end()
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
        began = before = self._clock()
        peak: int | None = None
        half_ns = self._stretch_ns // 2
        while before - began < self._stretch_ns or len(periods) < LEAST_BATCHES:
            self._step(next(iterator))
            now = self._clock()
            periods.append((now - before) / 1e9)
            before = now
            if plan.workers and peak is None and now - began >= half_ns:
                peak = self._look()
                before = self._clock()
            if now - began > 3 * self._stretch_ns:
                break
        if plan.workers:
            peak = max(peak or 0, self._look())
        reading = Reading(plan=plan, seconds=fmean(periods), error=_error(periods))
        return Stretch(reading, len(periods), first_s, peak)

    def _look(self) -> int:
        """Memory of all workers now, shared pages divided.

        Raises:
            MemoryError: it is more than was allowed.
        """
        held = 0
        for child in psutil.Process(os.getpid()).children(recursive=True):
            try:
                held += child.memory_full_info().pss
            except psutil.Error:
                continue  # it has just ended
        if self._memory_bytes is not None and held > self._memory_bytes:
            allowed = amounts.size(self._memory_bytes)
            raise MemoryError(f"its workers took {amounts.size(held)}, and {allowed} are allowed")
        return held

    def _twin(self, plan: Plan) -> Any:
        """The user's loader under another plan, on index batches of our own."""
        loader = self._loader
        given: dict[str, Any] = {
            "collate_fn": loader.collate_fn,
            "num_workers": plan.workers,
            "pin_memory": plan.pin_memory,
            "generator": _copied(loader.generator),
            "in_order": plan.in_order,
        }
        if loader.batch_sampler is not None:
            given["batch_sampler"] = self._indices
        else:
            given |= {"sampler": self._indices, "batch_size": None}
        if plan.workers:
            given |= {
                "prefetch_factor": plan.prefetch,
                "worker_init_fn": loader.worker_init_fn,
                "multiprocessing_context": plan.start_method,
            }
        if plan.backend == "torch":
            return TorchLoader(loader.dataset, **given)
        return DataLoader(loader.dataset, plan=plan, thread_safe=self._thread_safe, **given)


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


def _copied(generator: Any) -> Any:
    if generator is None:
        return None
    copied = torch.Generator(device=generator.device)
    copied.set_state(generator.get_state())
    return copied


def _error(periods: Sequence[float]) -> float:
    """Relative standard error of the mean, by means of blocks: neighbours resemble each other."""
    blocks = min(BLOCKS, len(periods))
    if blocks < 2:
        return 1.0
    size = len(periods) // blocks
    means = [fmean(periods[place * size : (place + 1) * size]) for place in range(blocks)]
    return stdev(means) / sqrt(blocks) / fmean(periods)
