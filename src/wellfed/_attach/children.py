"""Processes that the script starts itself (mp.spawn, mp.Process) are watched or served too.

The child's target is wrapped by a picklable object before it starts, whatever the start method.

Watched  watches until the target returns, and saves what it saw into a folder that the parent reads
         in the end. Only a child that is a rank, or came from torch's own spawn, is stopped when
         enough is seen: of any other (a Pool's, say) the script may await an answer.
Served   has the engine put under the loaders of the child, as it is under those of its parent.
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
from wellfed._attach.torch_loaded import when_torch_is_loaded
from wellfed.errors import ReportError
from wellfed.records import Trace, Workload, load, save
from wellfed.records._record import Record

__all__ = ["Orders", "Seen", "Served", "Watched", "gather", "install_with_torch", "wrap_target"]


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


class Watched:
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
        return Watched, (
            self._target,
            self._orders,
        )  # a child that unpickles it has nothing to undo

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
        target = self._target.target if isinstance(self._target, Served) else self._target
        return getattr(target, "__module__", None) == "torch.multiprocessing.spawn"


class Served:
    """Runs a child's target with the engine under its loaders."""

    def __init__(self, target: Callable[..., Any]) -> None:
        """Take the place of `target`, which is what the script has the child run."""
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Served, (self.target,)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        install_with_torch()
        return self.target(*args, **kwargs)


def install_with_torch() -> None:
    """Put the engine under the loaders of this process, for good, as soon as it imports torch."""

    def install() -> None:
        from wellfed._attach.installing import install

        install()

    when_torch_is_loaded(install)


def wrap_target(process: Any, kind: type[Watched] | type[Served], *more: Any) -> None:
    """Have a process that is about to start run `kind(target, *more)`, once.

    One that overrides `run` has no target, and is left alone.
    """
    target = getattr(process, "_target", None)
    if target is not None and not isinstance(target, kind):
        process._target = kind(target, *more)


def gather(folder: str) -> list[Seen]:
    """What children left; a file that a dying child broke off is passed over."""
    seen = []
    for path in sorted(Path(folder).glob("seen-*.json")):
        with contextlib.suppress(ReportError):
            seen.append(load(path, Seen))
    return seen
