"""Puts every plain DataLoader of the process on the engine, without a change to the script.

    DataLoader.__iter__ ─► _get_iterator ─► engine_iterator(loader) ─► the engine
                                                  └─ None ─► torch's own iterator

Guarantees
- one method of torch's class is replaced: no loader changes its class, its `len` or its pickling,
  and `isinstance` and `is` say what they said before;
- a class that overrides `_get_iterator` or `__iter__` is left alone: what it does there may lean on
  torch's iterator;
- when the last of those who installed it has undone it, torch's method is in its place again.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any

from torch.utils.data import DataLoader

from wellfed._engine.patches import Patches
from wellfed._loader import engine_iterator

__all__ = ["Installation", "install"]


class Installation:
    """The engine serves torch's DataLoader until this is undone, or its `with` block is left."""

    def undo(self) -> None:
        """Take it back; iterators that run already run on. Harmless when called twice."""
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
    """Have every plain `torch.utils.data.DataLoader` of this process served by the engine.

    Loaders that exist already are served too, from their next `iter()`. Subclasses that override
    `_get_iterator` or `__iter__` are left alone, and so is what the engine refuses. Processes that
    are forked from this one inherit it; those that are spawned do not.

    Returns:
        What undoes it. It may be installed several times: the last to be undone takes it away.
    """
    installation = Installation()
    _process.enter(installation)
    return installation


class _Process:
    """Who wants the engine in this process."""

    def __init__(self) -> None:
        self._wanted_by: set[Installation] = set()
        self._patches = Patches()

    def enter(self, one: Installation) -> None:
        self._wanted_by.add(one)
        if len(self._wanted_by) == 1:
            self._patches.wrap(DataLoader, "_get_iterator", self._get_iterator)

    def leave(self, one: Installation) -> None:
        self._wanted_by.discard(one)
        if not self._wanted_by:
            self._patches.undo()

    def _get_iterator(self, original: Callable[[Any], Any], loader: Any) -> Any:
        # Somebody may have wrapped ours since, and then it stays when it is undone.
        if not self._wanted_by or not _is_plain(loader):
            return original(loader)
        iterator = engine_iterator(loader)
        return original(loader) if iterator is None else iterator


# A patch of the process is state of the process; nothing else here is.
_process = _Process()


def _is_plain(loader: Any) -> bool:
    """Whether its iterators are made by torch's own two methods."""
    kind = type(loader)
    return all(
        getattr(kind, name) is getattr(DataLoader, name) and name not in vars(loader)
        for name in ("_get_iterator", "__iter__")
    )
