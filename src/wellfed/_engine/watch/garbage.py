"""How long Python's full garbage collections hold the trainer's process up."""

import gc
from collections.abc import Callable

__all__ = ["Garbage"]


class Garbage:
    """Counts full collections while it is listed in `gc.callbacks`: 0.3 µs for each of any kind.

    Those of the young generations come every few hundred objects, are short, and are not timed.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self.took_ns = 0
        self.runs = 0
        self._clock = clock
        self._began_ns = -1

    def listen(self) -> None:
        """Begin to be called."""
        gc.callbacks.append(self)

    def undo(self) -> None:
        """Be called no more. Harmless when called twice."""
        if self in gc.callbacks:
            gc.callbacks.remove(self)

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        """Python's collector begins or ends."""
        if info["generation"] < 2:
            return
        if phase == "start":
            self._began_ns = self._clock()
        elif self._began_ns >= 0:
            self.took_ns += self._clock() - self._began_ns
            self.runs += 1
