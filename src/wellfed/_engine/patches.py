"""Methods and functions replaced in their owners, all of which can be put back."""

import functools
from collections.abc import Callable
from typing import Any

__all__ = ["Patches"]


class Patches:
    """What was replaced, and by what."""

    def __init__(self) -> None:
        self._made: list[tuple[Any, str, Any, Any]] = []

    def wrap(self, owner: Any, name: str, ours: Callable[..., Any]) -> None:
        """Have `ours` called with the original before the arguments."""
        original = vars(owner)[name]

        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return ours(original, *args, **kwargs)

        self.replace(owner, name, wrapper)

    def replace(self, owner: Any, name: str, ours: Any) -> None:
        """Put `ours` in its place."""
        self._made.append((owner, name, vars(owner)[name], ours))
        setattr(owner, name, ours)

    def undo(self) -> None:
        """Put back all of it. Harmless when called twice."""
        for owner, name, original, ours in reversed(self._made):
            # Somebody may have wrapped ours since: then it stays, and only passes calls on.
            if vars(owner).get(name) is ours:
                setattr(owner, name, original)
        self._made.clear()
