"""Remembers the line that built each loader, for as long as the loader lives."""

import sys
import weakref
from typing import Any

from wellfed._engine.watch import frames
from wellfed.records import Site

__all__ = ["Sites"]

Built = tuple[Site | None, tuple[str, ...]]
"""The line that built a loader, and the chain of the user's lines above it."""


class Sites:
    """Lines by loader."""

    def __init__(self) -> None:
        # By identity, because a loader may define equality, and checked, because ids come again.
        self._built: dict[int, tuple[weakref.ref[Any], Built]] = {}

    def remember(self, loader: Any) -> Built:
        """The user's line that is running builds it."""
        built = frames.building_site(sys._getframe(1), loader)
        key = id(loader)
        gone = weakref.ref(loader, lambda _: self._built.pop(key, None))
        self._built[key] = gone, built
        return built

    def of(self, loader: Any) -> Built:
        """The line that built it; of one that was unpickled or copied, the one that iterates it."""
        known = self._built.get(id(loader))
        return known[1] if known is not None and known[0]() is loader else self.remember(loader)
