"""Threads of one worker that fetch samples side by side, for data that is waited for.

    tasks ─► samples ─► threads ─► a task whose last sample is there ─► collate, in the main thread

Guarantees
- a task is taken while a thread would otherwise be idle, so that one slow sample holds up nobody;
- the samples of a batch keep their places, and the first of them that raised is the one told of;
- threads only fetch: the collate function, random streams and slabs are the main thread's.
"""

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

from wellfed._engine.failures import packed_failure
from wellfed._engine.wire import Task

__all__ = ["Gang", "Samples"]


class Samples:
    """The samples of one task, while they come in."""

    __slots__ = ("_came", "began_ns", "cpu_ns", "failed", "got", "task", "took_ns")

    def __init__(self, task: Task, began_ns: int) -> None:
        self.task = task
        self.began_ns = began_ns
        self.got: list[Any] = [None] * len(task.index)
        self.took_ns: list[int] = []
        """How long each took, in the order in which they came."""
        self.cpu_ns: list[int] = []
        """CPU time of its thread meanwhile."""
        self.failed: dict[int, bytes] = {}
        """Exceptions by the place of the sample, packed."""
        self._came = count(1)

    def one_came(self) -> bool:
        """Whether it was the last. `next` of a count is atomic: no lock."""
        return next(self._came) == len(self.got)

    @property
    def failure(self) -> bytes:
        """The exception that a plain loop would have raised; empty if none."""
        return self.failed[min(self.failed)] if self.failed else b""


class Gang:
    """The threads."""

    def __init__(
        self, dataset: Any, threads: int, clock: Callable[[], int] = time.perf_counter_ns
    ) -> None:
        self.wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        """Readable when a task is complete, or a thread is idle and nobody looks for tasks."""
        self._dataset = dataset
        self._threads = threads
        self._clock = clock
        self._pool = ThreadPoolExecutor(threads, "wellfed-samples")
        self._done: deque[Samples] = deque()
        self._fetched: deque[None] = deque()
        """Samples that threads have fetched and the main thread has not counted yet."""
        self._under_way = 0
        self._open = 0
        self._looking = False

    def hungry(self) -> bool:
        """Whether a thread is idle; with False, `wake` tells when one is."""
        for _ in range(len(self._fetched)):
            self._fetched.popleft()
            self._under_way -= 1
        # Set before it is looked at again, so that a sample that comes in between wakes.
        self._looking = False
        self._looking = self._too_few()
        return self._looking

    def _too_few(self) -> bool:
        return self._under_way - len(self._fetched) < self._threads

    @property
    def idle(self) -> bool:
        """Whether no task is under way."""
        return not self._open

    def start(self, task: Task) -> None:
        """Have the samples of a task fetched. It has at least one."""
        samples = Samples(task, self._clock())
        self._open += 1
        self._under_way += len(samples.got)
        for place, index in enumerate(task.index):
            self._pool.submit(self._fetch, samples, place, index)

    def finished(self) -> list[Samples]:
        """Tasks that are complete, each once."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.wake)
        done = [self._done.popleft() for _ in range(len(self._done))]
        self._open -= len(done)
        return done

    def _fetch(self, samples: Samples, place: int, index: Any) -> None:
        began_ns, began_cpu_ns = self._clock(), time.thread_time_ns()
        try:
            samples.got[place] = self._dataset[index]
        except Exception:
            samples.failed[place] = packed_failure(samples.task.home, index)
        except BaseException as error:  # `sys.exit` ends a worker, also where it has threads
            os._exit(_exit_code(error))
        samples.cpu_ns.append(time.thread_time_ns() - began_cpu_ns)
        samples.took_ns.append(self._clock() - began_ns)
        self._fetched.append(None)
        complete = samples.one_came()
        if complete:
            self._done.append(samples)
        if complete or (not self._looking and self._too_few()):
            os.eventfd_write(self.wake, 1)


def _exit_code(error: BaseException) -> int:
    code = error.code if isinstance(error, SystemExit) else 1
    return 0 if code is None else code if isinstance(code, int) else 1
