"""One call of torch's `fetch`, with stand-ins that time each sample and the collate function.

They take the places of the dataset and of the collate function when the fetch begins, and give
them back when it ends, however it ends; what they stand for is called as torch would call it.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any

from wellfed._engine.watch.content import leading
from wellfed._engine.watch.counters import Reading
from wellfed._engine.watch.looking import Looking

__all__ = ["Fetch"]


class _TimedItems:
    """Stands in for a map-style dataset during one fetch; times each item."""

    __slots__ = ("_clock", "_dataset", "_note")

    def __init__(self, dataset: Any, took_ns: list[int], clock: Callable[[], int]) -> None:
        self._dataset = dataset
        self._note = took_ns.append
        self._clock = clock

    def __getitem__(self, index: Any) -> Any:
        began = self._clock()
        item = self._dataset[index]
        self._note(self._clock() - began)
        return item

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)


class _TimedIterator:
    """Stands in for an iterable dataset's iterator during one fetch; times each item."""

    __slots__ = ("_clock", "_iterator", "_note")

    def __init__(self, iterator: Any, took_ns: list[int], clock: Callable[[], int]) -> None:
        self._iterator = iterator
        self._note = took_ns.append
        self._clock = clock

    def __iter__(self) -> "_TimedIterator":
        return self

    def __next__(self) -> Any:
        began = self._clock()
        item = next(self._iterator)
        self._note(self._clock() - began)
        return item


class Fetch:
    """One fetch while it runs: its stand-ins are in torch's fetcher, and it is the collate."""

    __slots__ = (
        "_clock",
        "_collate",
        "_fetcher",
        "_iterator",
        "_looking",
        "_source",
        "before",
        "began_ns",
        "closely",
        "collate_cpu_ns",
        "collate_ns",
        "counted",
        "entered_ns",
        "looked_ns",
        "states",
        "took_ns",
    )

    def __init__(
        self, fetcher: Any, looking: Looking | None, clock: Callable[[], int], *, closely: bool
    ) -> None:
        self.closely = closely
        self.looked_ns = 0
        """Time within the fetch that a closer look took."""
        self._looking = looking
        self._clock = clock
        self._fetcher = fetcher
        self._iterator = hasattr(fetcher, "dataset_iter")
        self._source = fetcher.dataset_iter if self._iterator else fetcher.dataset
        self._collate = fetcher.collate_fn
        self.before: Reading
        self.entered_ns = self.began_ns = 0
        self.took_ns: list[int] = []
        self.collate_ns = self.collate_cpu_ns = 0
        self.counted: int | None = None
        """Samples that torch collected one by one."""
        self.states: tuple[Any, ...] | None = None

    def put_in(self) -> None:
        """The stand-ins take their places."""
        # Without automatic collation the dataset hands over whole batches: no sample is seen.
        timed = self.closely and self._fetcher.auto_collation
        if timed and self._iterator:
            self._fetcher.dataset_iter = _TimedIterator(self._source, self.took_ns, self._clock)
        elif timed:
            self._fetcher.dataset = _TimedItems(self._source, self.took_ns, self._clock)
        self._fetcher.collate_fn = self._timed_collate

    def take_out(self) -> None:
        """Everything is where it was. Harmless when called twice."""
        if self._iterator:
            self._fetcher.dataset_iter = self._source
        else:
            self._fetcher.dataset = self._source
        self._fetcher.collate_fn = self._collate

    def _timed_collate(self, samples: Any) -> Any:
        if self._fetcher.auto_collation and type(samples) is list:
            self.counted = len(samples)
        if self._looking is not None and self._looking.on:
            self._look(self._looking, samples)
        began, cpu = self._clock(), time.thread_time_ns()
        batch = self._collate(samples)
        self.collate_ns = self._clock() - began
        self.collate_cpu_ns = time.thread_time_ns() - cpu
        return batch

    def _look(self, looking: Looking, samples: Any) -> None:
        began = self._clock()
        with contextlib.suppress(Exception):  # what cannot be looked at is not seen
            looking.saw(samples)
        self.looked_ns = self._clock() - began

    @property
    def dataset(self) -> Any:
        """The dataset that the batch is made of."""
        return self._fetcher.dataset if self._iterator else self._source

    def samples(self, index: Any, batch: Any) -> int:
        """Samples in the batch that was made for `index`; -1 if that cannot be told."""
        if self.counted is not None:
            return self.counted
        if isinstance(index, (list, tuple)):
            return len(index)
        # An iterable dataset without batching is asked for one batch, however many are in it.
        return leading(batch) if self._iterator or _is_many(index) else 1


def _is_many(index: Any) -> bool:
    """Whether an index of a map-style dataset stands for several samples: a slice, an array."""
    return isinstance(index, slice) or (hasattr(index, "shape") and len(index.shape) > 0)
