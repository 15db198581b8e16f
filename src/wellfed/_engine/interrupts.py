"""Ctrl-C reaches the trainer between two steps of the engine's bookkeeping, never inside one.

Python raises KeyboardInterrupt between any two bytecodes: also between the reading of a record and
the note that it has come. Whoever catches it and goes on, as a notebook does, would then wait for
that batch for ever.

    with calm:              SIGINT is noted; what its handler does comes at the end of the block
        with calm.opened:   but at once in here, where the trainer waits or runs the user's code
            ...

Guarantees
- the handler that was there runs, once for all that came meanwhile;
- nothing is touched in other threads than the main one, in which alone Python runs handlers.
"""

# `signal` itself turns numbers into enums and back, which takes 6 µs for each batch, not 0.4.
import _signal  # type: ignore[import-not-found]
import threading
from collections.abc import Callable
from signal import SIGINT
from types import FrameType, TracebackType

__all__ = ["Calm"]

Handler = Callable[[int, FrameType | None], object]
_SIGINT = int(SIGINT)


class Calm:
    """A block that SIGINT does not break off."""

    def __init__(self) -> None:
        self.handler: Handler | None = None
        """The one that was there; None outside the block, or where it is none of Python's."""
        self.noted = False
        self.open = False
        self.opened = _Opened(self)
        """A part of the block that may be broken off."""
        self._noting = self._note  # one object, so that it is known again

    def __enter__(self) -> None:
        handler = _signal.getsignal(_SIGINT)
        if callable(handler) and threading.current_thread() is threading.main_thread():
            # In this order: the signal may come between any two of these lines.
            self.noted, self.handler = False, handler
            _signal.signal(_SIGINT, self._noting)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.open = False
        if self.handler is None:
            return
        # Unless the user's code has put one of its own there.
        if _signal.getsignal(_SIGINT) is self._noting:
            _signal.signal(_SIGINT, self.handler)
        handler, self.handler = self.handler, None
        if self.noted:
            self.noted = False
            handler(_SIGINT, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.open and self.handler is not None:
            self.handler(number, frame)
        else:
            self.noted = True


class _Opened:
    """The `with` block of `Calm.opened`."""

    __slots__ = ("_calm",)

    def __init__(self, calm: Calm) -> None:
        self._calm = calm

    def __enter__(self) -> None:
        calm = self._calm
        calm.open = True  # first, or a signal that comes now would not end a wait
        if calm.noted and calm.handler is not None:
            calm.noted = False
            calm.handler(_SIGINT, None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._calm.open = False
