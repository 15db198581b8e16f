"""Puts wellfed's engine under every plain DataLoader of the process, and takes it away again.

    DataLoader.__iter__ ─► _get_iterator ─► engine_iterator(loader) ─► the engine
                                                  └─ None ─► torch's own iterator
    Process.start       ─► the child is served too, unless it makes batches itself

Guarantees
- one method of torch's class is replaced: no loader changes its class, its `len` or its pickling,
  and `isinstance` and `is` say what they said before;
- a class that overrides `_get_iterator` or `__iter__` is left alone: what it does there may lean on
  torch's iterator;
- once all who installed it have undone it, in any order, torch's method is in its place again.
"""

import weakref
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

from torch.utils.data import DataLoader

from wellfed._attach.children import Served, wrap_target
from wellfed._engine.patches import Patches
from wellfed._engine.template import serve
from wellfed._engine.watch.recorder import Recorder
from wellfed._live import Live
from wellfed._serving import engine_iterator, shown_recorder

__all__ = ["Installation", "install"]


class Installation:
    """The engine under every plain DataLoader, until `undo`. Also a `with` block."""

    def undo(self) -> None:
        """From here on iterators are torch's own again; those that live go on. Harmless twice."""
        _process.leave(self)

    def __enter__(self) -> "Installation":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.undo()


def install() -> Installation:
    """Run every plain torch DataLoader of this process on wellfed's engine from here on.

    Loaders that exist already are served too, from their next `iter()`, and those that frameworks
    build themselves. Subclasses that override `_get_iterator` or `__iter__` are left alone; what
    the engine cannot serve runs on torch's own iterator, as it does with `wellfed.DataLoader`.
    Processes that this one starts with `multiprocessing` are served too, under any start method;
    a subclass of `Process` that overrides `run` only if it is forked.

    Returns:
        What undoes it: call its `undo()`, or use it as a `with` block. It may be installed several
        times: the last to be undone takes it away.

    Examples:
        >>> with wellfed.install():  # doctest: +SKIP
        ...     train()
    """
    installation = Installation()
    _process.enter(installation)
    return installation


class _Process:
    """Who wants the engine in this process."""

    def __init__(self) -> None:
        self._wanted_by: set[Installation] = set()
        self._patches = Patches()
        self._circles: weakref.WeakKeyDictionary[Any, tuple[Recorder, Live]] = (
            weakref.WeakKeyDictionary()
        )

    def enter(self, one: Installation) -> None:
        self._wanted_by.add(one)
        if len(self._wanted_by) == 1:
            self._patches.wrap(DataLoader, "_get_iterator", self._get_iterator)
            self._patches.wrap(BaseProcess, "start", self._start)

    def leave(self, one: Installation) -> None:
        self._wanted_by.discard(one)
        if not self._wanted_by:
            self._patches.undo()

    def _get_iterator(self, original: Callable[[Any], Any], loader: Any) -> Any:
        # Somebody may have wrapped ours since, and then it stays when it is undone.
        if not self._wanted_by or not _is_plain(loader):
            return original(loader)
        if loader not in self._circles:
            recorder = shown_recorder(loader)
            self._circles[loader] = recorder, Live(recorder)
        recorder, live = self._circles[loader]
        iterator = engine_iterator(loader, recorder, live=live if loader.num_workers else None)
        if iterator is None:
            return original(loader)
        live.began(iterator)
        return iterator

    def _start(self, original: Callable[[Any], None], process: Any) -> None:
        if self._wanted_by and not _makes_batches(process):
            wrap_target(process, Served)
        original(process)


# A patch of the process is state of the process; nothing else here is.
_process = _Process()


def _makes_batches(process: Any) -> bool:
    """Whether a loader starts it: torch's, torchdata's or ours."""
    target = getattr(process, "_target", None)
    return target is serve or getattr(target, "__name__", "") == "_worker_loop"


def _is_plain(loader: Any) -> bool:
    """Whether its iterators are made by torch's own two methods."""
    kind = type(loader)
    return all(
        getattr(kind, name) is getattr(DataLoader, name) and name not in vars(loader)
        for name in ("_get_iterator", "__iter__")
    )
