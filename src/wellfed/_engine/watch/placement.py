"""Where a maker runs: its threads, the CPUs that it may use, its core. -1 where none can tell."""

import os

__all__ = ["allowed_cpus", "cpu_core", "threads"]


def threads() -> int:
    """Threads of this process."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return -1


def allowed_cpus() -> int:
    """CPUs in the affinity mask."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else -1


def cpu_core() -> int:
    """The core that this thread last ran on."""
    try:
        with open("/proc/thread-self/stat", "rb") as file:
            # Field 39 of stat(5); the command name before it may hold spaces and parentheses.
            return int(file.read().rpartition(b")")[2].split()[36])
    except (OSError, ValueError, IndexError):
        return -1
