"""Watches one maker of batches, a worker or the trainer itself, and writes a note per batch.

    fetch of torch's fetcher
      ├─ dataset[i] or next(...)   each one timed by a stand-in that lives only during the fetch
      └─ collate_fn(samples)       likewise

Guarantees
- torch's own fetcher runs, with the user's own dataset and collate function behind the stand-ins:
  the same calls in the same order, `__getitems__` found and called as before, exceptions untouched;
- no random number is drawn and no generator state is written;
- a failure of the watching itself leaves the batch alone: it ends the notes, with one warning;
- one batch costs about 30 µs, and 1 µs a sample where each one is timed; that is noted as
  `watch_ns`, but for the stand-ins' own share of it, which cannot be told from the fetch.
"""

import logging
import math
import os
import pickle
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from wellfed._engine.content import look
from wellfed._engine.counters import Counters, Reading
from wellfed.records.trace import BUCKETS_PER_OCTAVE, Span

__all__ = ["NOTE_FIELDS", "Maker", "Note", "OpenedFiles"]

log = logging.getLogger(__name__)

Note = list[Any]
"""The maker's half of a Span, in the order of NOTE_FIELDS."""

_ALL = Span.__struct_fields__
NOTE_FIELDS = _ALL[_ALL.index("worker") : _ALL.index("paused_ns")]

# Places in a Note that are filled in after it is written, here and by the worker's outbox.
SERIALISE = NOTE_FIELDS.index("serialise_ns")
SERIALISE_CPU = NOTE_FIELDS.index("serialise_cpu_ns")
QUEUED = NOTE_FIELDS.index("queued_ns")
SENT = NOTE_FIELDS.index("sent_ns")
_SAMPLES = NOTE_FIELDS.index("samples")
_TENSORS = NOTE_FIELDS.index("tensors")
_PAYLOAD = NOTE_FIELDS.index("payload_bytes")
_OBJECTS = NOTE_FIELDS.index("objects")
_DREW = NOTE_FIELDS.index("drew")
_THREADS = NOTE_FIELDS.index("threads")
_WATCH = NOTE_FIELDS.index("watch_ns")
_ALLOWED = NOTE_FIELDS.index("allowed_cpus")
_CORE = NOTE_FIELDS.index("cpu_core")

# Looking into a batch or at the generators costs tens of µs: done for the first batches, which
# settle what a batch is made of, and then now and again to notice a change.
LOOK_FIRST = 4
LOOK_EVERY = 16
RNG_FIRST = 2
RNG_EVERY = 64

# Timing each sample and reading /proc/self/io cost some 40 µs of the 60 that watching a batch of
# 32 costs. Where batches take less than a millisecond, one in five is watched that closely: an odd
# number, because shards and buffers come in powers of two.
CHEAP_NS = 1_000_000
CLOSELY_EVERY = 5
MEAN_OVER = 16

# From here on counting with NumPy is faster, also when its code is not in the cache.
MANY_SAMPLES = 256

# Paths of files opened by the dataset: enough to learn the file systems and sizes, no more.
MOST_PATHS = 64


class OpenedFiles:
    """Paths that this process opens for reading while a batch is made, by Python's audit hook.

    An audit hook cannot be removed, so there is one a process, idle unless `listening`.
    Files opened inside C libraries (HDF5, LMDB) do not show.
    """

    def __init__(self) -> None:
        self.listening = False
        self._paths: dict[str, None] = {}
        self._hooked = False

    def hook(self) -> None:
        """Begin to be called for audit events. Idempotent."""
        if not self._hooked:
            self._hooked = True
            sys.addaudithook(self._heard)

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and self.listening and len(self._paths) < MOST_PATHS:
            path = args[0]
            if isinstance(path, str):
                # A subclass of str may not unpickle in the trainer, and would lose the batch.
                self._paths[str.__str__(path)] = None

    def new_since(self, count: int) -> list[str]:
        """The paths noticed after the first `count`."""
        return list(self._paths)[count:] if len(self._paths) > count else []


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


class _Fetch:
    """One fetch while it runs: its stand-ins are in torch's fetcher, and it is the collate."""

    __slots__ = (
        "_clock",
        "_collate",
        "_fetcher",
        "_iterator",
        "_source",
        "before",
        "began_ns",
        "closely",
        "collate_cpu_ns",
        "collate_ns",
        "counted",
        "entered_ns",
        "states",
        "took_ns",
    )

    def __init__(self, fetcher: Any, clock: Callable[[], int], *, closely: bool) -> None:
        self.closely = closely
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
        if self.closely and self._iterator:
            self._fetcher.dataset_iter = _TimedIterator(self._source, self.took_ns, self._clock)
        elif self.closely:
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
        began, cpu = self._clock(), time.thread_time_ns()
        batch = self._collate(samples)
        self.collate_ns = self._clock() - began
        self.collate_cpu_ns = time.thread_time_ns() - cpu
        return batch


class Maker:
    """Notes what making each batch took. One for each worker process or in-process loader."""

    def __init__(
        self,
        worker: int,
        opened: OpenedFiles,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.worker = worker
        self.clock = clock
        self.begun_ns = clock()
        self.feeder_cpu_ns = 0
        """CPU time of the queue's feeder thread, which alone writes it: not native threads'."""
        self.note: Note | None = None
        """What the last fetch took; None before the first, and once watching has failed."""
        self.paths: list[str] = []
        """Files newly seen opened during that fetch."""
        self._batches = 0
        self._opened = opened
        self._paths_sent = 0
        self._feeder_seen_ns = 0
        self._counters: Counters | None = None
        self._mean_ns = 0.0
        self._taken_ns = -1
        self._idle_ns = 0
        self._off = False

    def took(self, taken_ns: int, idle_ns: int) -> None:
        """The worker took a request from its queue after waiting `idle_ns` for it."""
        self._taken_ns = taken_ns
        self._idle_ns = idle_ns

    def fetch(self, original: Callable[[Any, Any], Any], fetcher: Any, index: Any) -> Any:
        """Run torch's `fetch` for `index`, watched; returns the batch and sets `note`."""
        self.note = None
        fetch = self._begin(fetcher) if not self._off else None
        if fetch is None:
            return original(fetcher, index)
        try:
            batch = original(fetcher, index)
        finally:
            fetched_ns = self.clock()
            self._opened.listening = False
            fetch.take_out()
        self._end(fetch, fetched_ns, index, batch)
        return batch

    def _begin(self, fetcher: Any) -> _Fetch | None:
        entered_ns = self.clock()
        fetch = None
        try:
            fetch = _Fetch(fetcher, self.clock, closely=self._closely())
            fetch.entered_ns = entered_ns
            if self._batches < RNG_FIRST or self._batches % RNG_EVERY == 0:
                fetch.states = _states()
            fetch.put_in()
            fetch.before = self._counters_here().read(io=fetch.closely)
            self._opened.listening = True
            fetch.began_ns = self.clock()
        except Exception:
            self._fail(fetch)
            return None
        return fetch

    def _end(self, fetch: _Fetch, fetched_ns: int, index: Any, batch: Any) -> None:
        try:
            after = self._counters_here().read(io=fetch.closely)
            fetch_ns = fetched_ns - fetch.began_ns
            note = self._write(fetch, after, fetch_ns, index)
            self._mean_ns += (fetch_ns - self._mean_ns) / min(self._batches + 1, MEAN_OVER)
            self.paths = []
            if self._batches < LOOK_FIRST or self._batches % LOOK_EVERY == 0:
                note[_TENSORS], note[_PAYLOAD], note[_OBJECTS] = look(batch)
                note[_THREADS], note[_ALLOWED], note[_CORE] = _threads(), _allowed(), _core()
                self.paths = self._opened.new_since(self._paths_sent)
                self._paths_sent += len(self.paths)
            if fetch.states is not None:
                note[_DREW] = _drew(fetch.states, _states())
            self._batches += 1
            note[_WATCH] = self.clock() - fetched_ns + fetch.began_ns - fetch.entered_ns
            self.note = note
        except Exception:
            self._fail(fetch)

    def _closely(self) -> bool:
        # By the mean, not by the last batch: whether one is watched must not depend on it.
        return (
            self._mean_ns >= CHEAP_NS
            or self._batches < LOOK_FIRST
            or self._batches % CLOSELY_EVERY == 0
        )

    def _fail(self, fetch: _Fetch | None) -> None:
        """Watching itself failed: no more of it."""
        self._off, self._opened.listening = True, False
        if fetch is not None:
            fetch.take_out()
        log.warning(
            "wellfed: watching failed where batches are made and is now off there; "
            "training is not affected",
            exc_info=True,
        )

    def _counters_here(self) -> Counters:
        thread = threading.get_native_id()
        if self._counters is None or self._counters.thread != thread:
            self.close()
            self._counters = Counters(whole_process_io=self.worker >= 0)
        return self._counters

    def close(self) -> None:
        """Give back what the counters hold open; a later fetch opens them again."""
        if self._counters is not None:
            self._counters.close()
            self._counters = None

    def _write(self, fetch: _Fetch, after: Reading, fetch_ns: int, index: Any) -> Note:
        before, took_ns = fetch.before, fetch.took_ns
        cpu = after.cpu_ns - before.cpu_ns
        feeder_ns = self.feeder_cpu_ns
        others = after.process_cpu_ns - before.process_cpu_ns - cpu
        others -= feeder_ns - self._feeder_seen_ns
        self._feeder_seen_ns = feeder_ns
        return [
            self.worker,
            os.getpid(),
            self._taken_ns,
            self._idle_ns,
            fetch_ns,
            fetch.collate_ns,
            cpu,
            fetch.collate_cpu_ns,
            others if others > 0 else 0,
            _minus(after.run_queue_ns, before.run_queue_ns),
            after.major_faults - before.major_faults,
            after.minor_faults - before.minor_faults,
            _minus(after.read_bytes, before.read_bytes),
            _minus(after.read_chars, before.read_chars),
            _minus(after.read_calls, before.read_calls),
            after.yields - before.yields,
            after.preemptions - before.preemptions,
            0,  # serialise_ns, serialise_cpu_ns, queued_ns, sent_ns: the outbox fills them in
            0,
            0,
            -1,
            _samples(fetch, index),
            -1,  # tensors, payload_bytes, objects: by `look`, now and again
            -1,
            -1,
            sum(took_ns),
            max(took_ns, default=0),
            _buckets(took_ns),
            -1,  # drew, threads, allowed_cpus, cpu_core: now and again
            -1,
            0,
            -1,
            -1,
        ]


def _minus(after: int | None, before: int | None) -> int:
    return -1 if after is None or before is None else after - before


def _samples(fetch: _Fetch, index: Any) -> int:
    if fetch.counted is not None:
        return fetch.counted
    return len(index) if isinstance(index, (list, tuple)) else 1


def _buckets(took_ns: list[int]) -> dict[int, int]:
    """Counts by logarithmic bucket: 0.1 µs a sample."""
    if len(took_ns) >= MANY_SAMPLES:
        logs = np.log2(np.maximum(took_ns, 1))
        counted = np.bincount((logs * BUCKETS_PER_OCTAVE + 0.5).astype(np.intp))
        marks = counted.nonzero()[0]
        return dict(zip(marks.tolist(), counted[marks].tolist(), strict=True))
    counts: dict[int, int] = {}
    log2 = math.log2
    for ns in took_ns:
        bucket = int(log2(ns or 1) * BUCKETS_PER_OCTAVE + 0.5)
        counts[bucket] = counts.get(bucket, 0) + 1
    return counts


def _states() -> tuple[Any, ...]:
    numpy_random = sys.modules.get("numpy.random")
    return (
        random.getstate(),
        # Pickled, because the state of a bit generator is a nest of arrays and numbers.
        pickle.dumps(numpy_random.get_state(legacy=False)) if numpy_random is not None else b"",
        torch.default_generator.get_state(),
    )


def _drew(before: tuple[Any, ...], after: tuple[Any, ...]) -> int:
    """Bits: 1 python's generator moved, 2 NumPy's, 4 torch's."""
    moved = (before[0] != after[0], before[1] != after[1], not torch.equal(before[2], after[2]))
    return sum(bit for bit, one in zip((1, 2, 4), moved, strict=True) if one)


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return -1


def _allowed() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else -1


def _core() -> int:
    try:
        with open("/proc/thread-self/stat", "rb") as file:
            # Field 39 of stat(5); the command name before it may hold spaces and parentheses.
            return int(file.read().rpartition(b")")[2].split()[36])
    except (OSError, ValueError, IndexError):
        return -1
