"""Processes that the script starts itself (mp.spawn, mp.Process) are watched too.

The child's target is wrapped by a picklable Entry before it starts, whatever the start method.
In the child, the Entry watches until the target returns or enough is seen, and saves what it saw
into a folder that the parent reads in the end.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wellfed._attach.pacer import Limits
from wellfed.errors import ReportError
from wellfed.records import Trace, Workload, load, save
from wellfed.records._record import Record

__all__ = ["Entry", "Seen", "follow", "gather"]


class Seen(Record, frozen=True, kw_only=True):
    """What one process saw of the loader that matters in it."""

    held_s: float
    """Consumer seconds of that loader: the process with the most speaks for the run."""
    trace: Trace
    workload: Workload

    def save(self, folder: str) -> None:
        """Leave it for the parent. A full disk loses it, never the child."""
        with contextlib.suppress(ReportError):
            save(self, Path(folder) / f"seen-{os.getpid()}.json")


class Entry:
    """Runs a child's target, watched."""

    def __init__(self, target: Callable[..., Any], limits: Limits, folder: str) -> None:
        self._target = target
        self._limits = limits
        self._folder = folder

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "torch" not in sys.modules:  # a queue server or a pool worker that loads nothing
            return self._target(*args, **kwargs)
        from wellfed._attach.observation import Observation

        with Observation(self._limits, folder=self._folder) as seen:
            try:
                return self._target(*args, **kwargs)
            finally:
                seen.leave(self._folder)


def follow(process: Any, limits: Limits, folder: str) -> None:
    """Have a process that is about to start watched. One that overrides `run` is left alone."""
    target = getattr(process, "_target", None)
    if target is not None and not isinstance(target, Entry):
        process._target = Entry(target, limits, folder)


def gather(folder: str) -> list[Seen]:
    """What children left; a file that a dying child broke off is passed over."""
    seen = []
    for path in sorted(Path(folder).glob("seen-*.json")):
        with contextlib.suppress(ReportError):
            seen.append(load(path, Seen))
    return seen
