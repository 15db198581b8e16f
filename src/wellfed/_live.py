"""What a loader does about its plan while it trains.

It composes: the engine's iterators change their plan, and here is who asks them to.
"""

import weakref
from typing import Any

from wellfed._engine.iterator import EngineIterator
from wellfed.errors import UsageError
from wellfed.records import Plan

__all__ = ["Live"]


class Live:
    """The live circle of one loader, over all its iterators."""

    def __init__(self) -> None:
        """Nothing is iterated yet."""
        self._iterators: weakref.WeakSet[EngineIterator] = weakref.WeakSet()

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy of the loader, in this process or another, has no iterator yet.
        return type(None), ()

    def began(self, iterator: EngineIterator) -> None:
        """An iterator was made."""
        self._iterators.add(iterator)

    def switch(self, plan: Plan) -> None:
        """Have all that are being iterated go on with another plan.

        Raises:
            UsageError: one of them cannot.
        """
        for iterator in [one for one in self._iterators if one.is_open]:
            why = iterator.switch(plan)
            if why is not None:
                raise UsageError(
                    f"the loader cannot switch to backend={plan.backend!r}, "
                    f"workers={plan.workers} now. {why} Set `loader.plan` for its next iterator."
                )
