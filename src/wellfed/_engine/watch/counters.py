"""What the kernel counts for one thread: run-queue delay, faults, bytes read, switches.

Read from /proc through file descriptors that stay open, so one reading costs about 5 µs. A file
that cannot be opened (another platform, a hardened /proc) leaves its counters at None.
"""

import os
import threading
import time
from typing import NamedTuple

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["Counters", "Reading"]


class Reading(NamedTuple):
    """The counters at one moment; subtract two of them."""

    cpu_ns: int
    """On-CPU time of the thread."""
    process_cpu_ns: int
    """On-CPU time of all threads of the process."""
    run_queue_ns: int | None
    major_faults: int
    minor_faults: int
    yields: int
    preemptions: int
    read_bytes: int | None
    read_chars: int | None
    read_calls: int | None


class Counters:
    """Counters of the thread that made this object. Close it, or lose two descriptors."""

    def __init__(self, *, whole_process_io: bool) -> None:
        """Open the counters of the calling thread.

        Args:
            whole_process_io: count reads of all the process's threads (right in a worker, whose
                libraries may read from threads of their own), not of this thread only.
        """
        # Not get_ident(), which is given to another thread once this one has ended.
        self.thread = threading.get_native_id()
        self._give_back = os.close  # at hand also when the interpreter ends
        self._schedstat = _open("/proc/thread-self/schedstat")
        self._io = _open("/proc/self/io" if whole_process_io else "/proc/thread-self/io")

    def read(self, *, files: bool = True) -> Reading:
        """The counters now; without `files`, those in /proc stay unknown and cost nothing."""
        run_queue = None
        if files and self._schedstat is not None:
            try:
                run_queue = int(os.pread(self._schedstat, 96, 0).split()[1])
            except (OSError, ValueError, IndexError):
                self._schedstat = _closed(self._schedstat)
        chars = calls = stored = None
        if files and self._io is not None:
            try:
                words = os.pread(self._io, 256, 0).split()
                chars, calls, stored = int(words[1]), int(words[5]), int(words[9])
            except (OSError, ValueError, IndexError):
                self._io = _closed(self._io)
        major = minor = yields = preemptions = 0
        if hasattr(resource, "RUSAGE_THREAD"):
            used = resource.getrusage(resource.RUSAGE_THREAD)
            major, minor = used.ru_majflt, used.ru_minflt
            yields, preemptions = used.ru_nvcsw, used.ru_nivcsw
        return Reading(
            time.thread_time_ns(),
            time.process_time_ns(),
            run_queue,
            major,
            minor,
            yields,
            preemptions,
            stored,
            chars,
            calls,
        )

    def close(self) -> None:
        """Give the descriptors back. Harmless when called twice."""
        for name in ("_schedstat", "_io"):
            descriptor = getattr(self, name)
            setattr(self, name, None)
            if descriptor is not None:
                self._give_back(descriptor)


def _open(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return None


def _closed(descriptor: int | None) -> int | None:
    if descriptor is not None:
        os.close(descriptor)
    return None
