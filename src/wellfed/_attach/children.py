"""Processes that the script starts itself (mp.spawn, mp.Process) are watched too.

The child's target is wrapped by a picklable Entry before it starts, whatever the start method.
In the child, the Entry watches until the target returns, and saves what it saw into a folder that
the parent reads in the end. Only a child that is a rank, or came from torch's own spawn, is stopped
when enough is seen: of any other (a Pool's, say) the script may await an answer.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wellfed._attach.pacer import Limits
from wellfed._attach.stopping import Stops
from wellfed.errors import ReportError
from wellfed.records import Trace, Workload, load, save
from wellfed.records._record import Record

__all__ = ["Entry", "Orders", "Seen", "follow", "gather"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a watched child is told by its parent."""

    limits: Limits
    folder: str
    """Where it leaves what it saw."""
    zero_ns: int
    """Zero of the trace's times; the clock is the same in all processes."""
    zero_unix_s: float


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

    def __init__(
        self,
        target: Callable[..., Any],
        orders: Orders,
        forget: Callable[[], None] | None = None,
    ) -> None:
        """Take the place of `target`.

        Args:
            target: what the script has the child run.
            orders: what the parent wants.
            forget: undoes the parent's watch, which a forked child finds itself with.
        """
        self._target = target
        self._orders = orders
        self._forget = forget

    def __reduce__(self) -> tuple[Any, ...]:
        return Entry, (self._target, self._orders)  # a child that unpickles it has nothing to undo

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forget is not None:
            self._forget()
        if "torch" not in sys.modules:  # a queue server or a pool worker that loads nothing
            return self._target(*args, **kwargs)
        from wellfed._attach.observation import Observation

        stops = Stops.WITH_RANKS if self._is_spawned() else Stops.ONLY_WITH_RANKS
        with Observation(self._orders.limits, orders=self._orders, stops=stops):
            return self._target(*args, **kwargs)

    def _is_spawned(self) -> bool:
        """Whether torch.multiprocessing.spawn starts it, which only waits for children to end."""
        return getattr(self._target, "__module__", None) == "torch.multiprocessing.spawn"


def follow(process: Any, orders: Orders, forget: Callable[[], None]) -> None:
    """Have a process that is about to start watched. One that overrides `run` is left alone."""
    target = getattr(process, "_target", None)
    if target is not None and not isinstance(target, Entry):
        process._target = Entry(target, orders, forget)


def gather(folder: str) -> list[Seen]:
    """What children left; a file that a dying child broke off is passed over."""
    seen = []
    for path in sorted(Path(folder).glob("seen-*.json")):
        with contextlib.suppress(ReportError):
            seen.append(load(path, Seen))
    return seen
