"""Puts wellfed's engine under every DataLoader of the process, and takes it away again.

One method is replaced, in torch's own class: the one that makes an iterator. No loader changes its
class; subclasses that make their iterators themselves go on doing so.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any

from torch.utils.data import DataLoader

from wellfed._engine.patches import Patches
from wellfed._loader import engine_iterator

__all__ = ["Installation", "install"]


class Installation:
    """The engine under every DataLoader, until `undo`. Also a `with` block."""

    def __init__(self) -> None:
        self._on = True
        self._patches = Patches()
        self._patches.wrap(DataLoader, "_get_iterator", self._get_iterator)

    def undo(self) -> None:
        """From here on iterators are torch's own again; those that live go on. Harmless twice."""
        self._on = False
        self._patches.undo()

    def __enter__(self) -> "Installation":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.undo()

    def _get_iterator(self, original: Callable[[Any], Any], loader: Any) -> Any:
        # Somebody may have wrapped our method since, and hold it still after `undo`.
        iterator = engine_iterator(loader) if self._on else None
        return original(loader) if iterator is None else iterator


def install() -> Installation:
    """Run every plain torch DataLoader of this process on wellfed's engine from here on.

    Loaders that frameworks build themselves are served too. What the engine cannot serve runs on
    torch's own iterator, as it does with `wellfed.DataLoader`.

    Returns:
        What undoes it: call its `undo()`, or use it as a `with` block.

    Examples:
        >>> with wellfed.install():  # doctest: +SKIP
        ...     train()
    """
    return Installation()
