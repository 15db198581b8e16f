"""Watches one maker of batches, a worker or the trainer itself, and writes a note per batch.

    fetch of torch's fetcher
      ├─ dataset[i] or next(...)   each one timed by a stand-in that lives only during the fetch
      └─ collate_fn(samples)       likewise

Guarantees
- torch's own fetcher runs, with the user's own dataset and collate function behind the stand-ins:
  the same calls in the same order, `__getitems__` found and called as before, exceptions untouched;
- no random number is drawn and no generator state is written;
- one batch costs about 15 µs plus 0.3 µs a sample; that time is noted as `watch_ns`.
"""

import os
import pickle
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import torch

from wellfed._engine.content import look
from wellfed._engine.counters import Counters, Reading
from wellfed.records.trace import BUCKETS_PER_OCTAVE, Span

__all__ = ["NOTE_FIELDS", "Maker", "Note", "OpenedFiles"]

Note = list[Any]
"""The maker's half of a Span, in the order of NOTE_FIELDS."""

_ALL = Span.__struct_fields__
NOTE_FIELDS = _ALL[_ALL.index("worker") : _ALL.index("paused_ns")]

# Places in a Note that are filled in after it is written, here and by the worker's outbox.
TAKEN = NOTE_FIELDS.index("taken_ns")
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
                self._paths[path] = None

    def new_since(self, count: int) -> list[str]:
        """The paths noticed after the first `count`."""
        return list(self._paths)[count:] if len(self._paths) > count else []


class _TimedItems:
    """Stands in for a map-style dataset during one fetch; times each item."""

    __slots__ = ("_clock", "_dataset", "_took_ns")

    def __init__(self, dataset: Any, took_ns: list[int], clock: Callable[[], int]) -> None:
        self._dataset = dataset
        self._took_ns = took_ns
        self._clock = clock

    def __getitem__(self, index: Any) -> Any:
        began = self._clock()
        item = self._dataset[index]
        self._took_ns.append(self._clock() - began)
        return item

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)


class _TimedIterator:
    """Stands in for an iterable dataset's iterator during one fetch; times each item."""

    __slots__ = ("_clock", "_iterator", "_took_ns")

    def __init__(self, iterator: Any, took_ns: list[int], clock: Callable[[], int]) -> None:
        self._iterator = iterator
        self._took_ns = took_ns
        self._clock = clock

    def __iter__(self) -> "_TimedIterator":
        return self

    def __next__(self) -> Any:
        began = self._clock()
        item = next(self._iterator)
        self._took_ns.append(self._clock() - began)
        return item


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
        """CPU time of the queue's feeder thread so far: not the dataset's native threads'."""
        self.note: Note | None = None
        """What the last fetch took; None before the first."""
        self.paths: list[str] = []
        """Files newly seen opened during that fetch."""
        self._batches = 0
        self._opened = opened
        self._paths_sent = 0
        self._counters: Counters | None = None
        self._taken_ns = -1
        self._idle_ns = 0

    def took(self, taken_ns: int, idle_ns: int) -> None:
        """The worker took a request from its queue after waiting `idle_ns` for it."""
        self._taken_ns = taken_ns
        self._idle_ns = idle_ns

    def fetch(self, original: Callable[[Any, Any], Any], fetcher: Any, index: Any) -> Any:
        """Run torch's `fetch` for `index`, watched; returns the batch and sets `note`."""
        entered = self.clock()
        self.note = None
        took_ns: list[int] = []
        collate_ns = [0, 0]
        before, states = self._before()
        began = self.clock()
        with _Stands(fetcher, took_ns, collate_ns, self.clock):
            batch = original(fetcher, index)
        fetched = self.clock()
        after = self._after()
        note = self._write(before, after, fetched - began, took_ns, collate_ns)
        note[_SAMPLES] = len(took_ns) or (len(index) if isinstance(index, (list, tuple)) else -1)
        if self._batches < LOOK_FIRST or self._batches % LOOK_EVERY == 0:
            note[_TENSORS], note[_PAYLOAD], note[_OBJECTS] = look(batch)
            note[_THREADS], note[_ALLOWED], note[_CORE] = _threads(), _allowed(), _core()
            self.paths = self._opened.new_since(self._paths_sent)
            self._paths_sent += len(self.paths)
        else:
            self.paths = []
        if states is not None:
            note[_DREW] = _drew(states, _states())
        self._batches += 1
        self.note = note
        note[_WATCH] = self.clock() - entered - (fetched - began)
        return batch

    def _before(self) -> tuple[Reading, tuple[Any, ...] | None]:
        if self._counters is None or self._counters.thread != threading.get_ident():
            if self._counters is not None:
                self._counters.close()
            self._counters = Counters(whole_process_io=self.worker >= 0)
        look_at_rng = self._batches < RNG_FIRST or self._batches % RNG_EVERY == 0
        states = _states() if look_at_rng else None
        self._opened.listening = True
        return self._counters.read(), states

    def _after(self) -> Reading:
        assert self._counters is not None
        self._opened.listening = False
        return self._counters.read()

    def _write(
        self,
        before: Reading,
        after: Reading,
        fetch_ns: int,
        took_ns: list[int],
        collate_ns: list[int],
    ) -> Note:
        cpu = after.cpu_ns - before.cpu_ns
        feeder, self.feeder_cpu_ns = self.feeder_cpu_ns, 0
        others = after.process_cpu_ns - before.process_cpu_ns - cpu - feeder
        return [
            self.worker,
            os.getpid(),
            self._taken_ns,
            self._idle_ns,
            fetch_ns,
            collate_ns[0],
            cpu,
            collate_ns[1],
            max(0, others),
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
            -1,
            -1,
            -1,
            -1,
            sum(took_ns),
            max(took_ns, default=0),
            _buckets(took_ns),
            -1,
            -1,
            0,
            -1,
            -1,
        ]


class _Stands:
    """Puts the timing stand-ins into a fetcher, and takes them out whatever happens."""

    def __init__(
        self,
        fetcher: Any,
        took_ns: list[int],
        collate_ns: list[int],
        clock: Callable[[], int],
    ) -> None:
        self._fetcher = fetcher
        self._name = "dataset_iter" if hasattr(fetcher, "dataset_iter") else "dataset"
        self._source = getattr(fetcher, self._name)
        self._collate = fetcher.collate_fn
        self._took_ns = took_ns
        self._collate_ns = collate_ns
        self._clock = clock

    def __enter__(self) -> None:
        stand = _TimedIterator if self._name == "dataset_iter" else _TimedItems
        setattr(self._fetcher, self._name, stand(self._source, self._took_ns, self._clock))
        collate, spent, clock = self._collate, self._collate_ns, self._clock

        def timed_collate(samples: Any) -> Any:
            began, cpu = clock(), time.thread_time_ns()
            batch = collate(samples)
            spent[0] += clock() - began
            spent[1] += time.thread_time_ns() - cpu
            return batch

        self._fetcher.collate_fn = timed_collate

    def __exit__(self, *_: object) -> None:
        setattr(self._fetcher, self._name, self._source)
        self._fetcher.collate_fn = self._collate


def _minus(after: int | None, before: int | None) -> int:
    return -1 if after is None or before is None else after - before


def _buckets(took_ns: list[int]) -> dict[int, int]:
    """Counts by logarithmic bucket, from integer arithmetic alone (0.2 µs a sample)."""
    counts: dict[int, int] = {}
    for ns in took_ns:
        octave = ns.bit_length() - 1
        bucket = octave * BUCKETS_PER_OCTAVE + ((ns >> (octave - 3)) & 7) if octave > 2 else 0
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
