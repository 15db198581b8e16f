"""The user's dataset behind a stand-in that can leave out parts of the work, batch by batch.

    Ask(stage, index) ─► samples ─► collate ─► batch
       as_is  warm        the user's   the user's
       waits              from memory, after the time that reading them did not compute
       memoised           from memory
       collated           from memory   run, and a tiny batch handed over in its place
       tiny               none          none: a tiny batch
       files              the user's    none: the names of the files opened

The stage travels with the index, so one set of workers serves all of them in turn, and what is
compared runs in the same processes at nearly the same time.

Guarantees
- the user's dataset and collate function are called as torch's fetcher calls them;
- what is kept in memory stays below `KEPT_BYTES` a process, and is not pickled;
- user code that asks `get_worker_info()` sees the user's dataset.
"""

import copy
import ctypes
import hashlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import get_worker_info

from wellfed._engine.watch.content import look
from wellfed._engine.watch.counters import Counters, Reading
from wellfed._engine.watch.opened_files import OpenedFiles

__all__ = ["Ask", "Init", "Staged", "rest", "spin"]

# Batches whose samples each process keeps. Fewer would be served from its caches alone.
MOST_KEPT = 10
KEPT_BYTES = 64 * 2**20
# Readings of how long samples are waited for; more of them show the tail.
MOST_WAITS = 256

# Files whose pages may be dropped; beyond them a cold run is colder in part only.
MOST_FILES = 16_384

# A sleep ends about so much late with the kernel's usual timer slack.
SLACK_S = 60e-6

# Hashing blocks of more than 2 KiB lets go of the GIL, as torch's kernels do; 16 KiB take 10 µs.
_BLOCK = b"\0" * 16_384


class Ask(NamedTuple):
    """What the sampler yields: which batch, and which parts of the work on it."""

    stage: str
    index: Any
    """What torch's fetcher takes: a list of indices, or one index without automatic batching."""
    delay_s: float = 0.0
    """Time added to the making of the batch."""
    computes: bool = False
    """Whether that time is CPU time, and not a wait."""


def spin(seconds: float) -> None:
    """Use that much CPU time of the calling thread, without holding the GIL."""
    end_ns = time.thread_time_ns() + round(seconds * 1e9)
    while time.thread_time_ns() < end_ns:
        hashlib.sha256(_BLOCK)


def rest(seconds: float) -> None:
    """Sleep so long, less the lateness with which a sleep ends."""
    if seconds > SLACK_S:
        time.sleep(seconds - SLACK_S)


class Staged:
    """Stands in for a map-style dataset; indexed with an `Ask`, returns the batch."""

    def __init__(self, dataset: Any, collate: Callable[[Any], Any], *, batched: bool) -> None:
        self.dataset = dataset
        self._collate = collate
        self._batched = batched
        self._empty()

    def _empty(self) -> None:
        self._kept: deque[Any] = deque(maxlen=MOST_KEPT)
        self._kept_bytes = 0
        self._waits_s: deque[float] = deque(maxlen=MOST_WAITS)
        self._warm = False
        self._turn = 0
        self._counters: Counters | None = None
        self._opened: OpenedFiles | None = None
        self._told = 0

    def __getstate__(self) -> tuple[Any, ...]:
        return self.dataset, self._collate, self._batched

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dataset, self._collate, self._batched = state
        self._empty()

    def __getitem__(self, ask: Ask) -> Any:
        if ask.delay_s:
            (spin if ask.computes else rest)(ask.delay_s)
        if ask.stage == "tiny":
            return torch.zeros(1)
        if ask.stage == "files":
            return self._files(ask.index)
        samples = self._samples(ask)
        batch = self._collate(samples)
        return torch.zeros(1) if ask.stage == "collated" else batch

    def _samples(self, ask: Ask) -> Any:
        if ask.stage in ("as_is", "warm") or not self._kept:
            return self._read(ask)
        self._turn += 1
        if ask.stage == "waits" and self._waits_s:
            rest(self._waits_s[self._turn % len(self._waits_s)])
        return _again(self._kept[self._turn % len(self._kept)])

    def _read(self, ask: Ask) -> Any:
        before, began_ns = self._reading(), time.perf_counter_ns()
        samples = self._fetch(ask.index)
        took_ns = time.perf_counter_ns() - began_ns
        self._keep(samples)
        if ask.stage == "warm" and not self._warm:
            self._warm = True
            self._waits_s.clear()
        # The rung below warm ones waits as warm reads do: not for storage.
        if ask.stage == "warm" or not self._warm:
            self._waits_s.append(_waited_ns(before, self._reading(), took_ns) / 1e9)
        return samples

    def _fetch(self, index: Any) -> Any:
        """As torch's map-style fetcher does."""
        if not self._batched:
            return self.dataset[index]
        if getattr(self.dataset, "__getitems__", None):
            return self.dataset.__getitems__(index)
        return [self.dataset[one] for one in index]

    def _keep(self, samples: Any) -> None:
        if len(self._kept) == MOST_KEPT:
            return
        payload_bytes = max(0, look(samples)[1])
        if self._kept and self._kept_bytes + payload_bytes > KEPT_BYTES:
            return
        self._kept_bytes += payload_bytes
        self._kept.append(_again(samples))

    def _reading(self) -> Reading:
        if self._counters is None:
            self._counters = Counters(whole_process_io=True)
        return self._counters.read()

    def _files(self, index: Any) -> tuple[str, ...]:
        """Reads the samples, and says which files were opened for the first time."""
        if self._opened is None:
            self._opened = OpenedFiles(MOST_FILES)
            self._opened.hook()
        self._opened.listening = True
        try:
            self._fetch(index)
        finally:
            self._opened.listening = False
        new = self._opened.new_since(self._told)
        self._told += len(new)
        return tuple(new)

    def close(self) -> None:
        """Give back what is held open and kept; harmless when called twice."""
        if self._counters is not None:
            self._counters.close()
        self._empty()


def _waited_ns(before: Reading, after: Reading, took_ns: int) -> int:
    """Time of a read in which no thread of the process computed and none lacked a core."""
    queued = 0
    if before.run_queue_ns is not None and after.run_queue_ns is not None:
        queued = after.run_queue_ns - before.run_queue_ns
    computed = after.process_cpu_ns - before.process_cpu_ns
    return max(0, took_ns - computed - queued)


def _again(samples: Any) -> Any:
    """The samples for another use: a collate function may take a list or a dict apart."""
    if isinstance(samples, list):
        return [copy.copy(one) if isinstance(one, dict | list) else one for one in samples]
    return copy.copy(samples) if isinstance(samples, dict) else samples


class Init:
    """The user's `worker_init_fn`, and before and after it what an experiment changes."""

    def __init__(
        self,
        user: Callable[[int], None] | None,
        *,
        cpus: Sequence[int] | None = None,
        one_thread: bool = False,
    ) -> None:
        """Prepare.

        Args:
            user: the user's own; None for none.
            cpus: cores that workers may use, whatever pinned them; None to leave that alone.
            one_thread: whether native libraries are held to one thread.
        """
        self._user = user
        self._cpus = cpus
        self._one_thread = one_thread

    def __call__(self, worker: int) -> None:
        info = get_worker_info()
        if info is not None and isinstance(info.dataset, Staged):
            # Not by assignment, which torch refuses on what is the user's to read.
            object.__setattr__(info, "dataset", info.dataset.dataset)
        if self._user is not None:
            self._user(worker)
        if self._cpus is not None:
            os.sched_setaffinity(0, self._cpus)
        if self._one_thread:
            _one_thread()


def _one_thread() -> None:
    """Hold the native libraries that are loaded to one thread, as far as they listen."""
    torch.set_num_threads(1)
    cv2 = sys.modules.get("cv2")
    if cv2 is not None:
        cv2.setNumThreads(0)
    limits = ("omp_set_num_threads", "openblas_set_num_threads", "MKL_Set_Num_Threads")
    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if ".so" in line}
    names = ("gomp", "iomp", "openblas", "mkl_rt")
    for path in (one for one in paths if any(name in os.path.basename(one) for name in names)):
        library = ctypes.CDLL(path)
        for limit in limits:
            if hasattr(library, limit):
                getattr(library, limit)(1)
