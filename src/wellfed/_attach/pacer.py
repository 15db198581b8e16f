"""When to stop watching: enough seen, time up, or never. Pure; the clock is a parameter."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from wellfed.seams import Clock

__all__ = ["Limits", "Pace", "Pacer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long to watch a script."""

    seconds: float = 60.0
    """At most so many seconds after the first batch."""
    steps: int | None = None
    """At most so many batches of the loader that matters; None: no such limit."""
    full: bool = False
    """Let the script run to its end."""


class Pace(Enum):
    """What to do at this batch."""

    GO_ON = "go on"
    STOP = "stop"


# The first look comes after 6 s: by then start-up, thread pools and clocks have settled on the
# example scripts; each later one after 1.3 times as long, so that looking (tens of ms) stays
# below 1 % of the time watched.
FIRST_LOOK_S = 6.0
LOOK_FACTOR = 1.3


class Pacer:
    """Decides at each batch whether to go on.

    `enough` is asked rarely, because it costs a summary of all that was seen.
    """

    def __init__(self, limits: Limits, enough: Callable[[], bool], clock: Clock) -> None:
        self._limits = limits
        self._enough = enough
        self._clock = clock
        self._first_ns: int | None = None
        self._next_look_s = FIRST_LOOK_S
        self._stopped = False

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first batch was asked for."""
        return 0.0 if self._first_ns is None else (self._clock() - self._first_ns) / 1e9

    def step(self, batches: int) -> Pace:
        """A batch is about to be asked for, after `batches` of the same loader.

        Once STOP, always STOP: a script that swallows the stop is told again.
        """
        if self._first_ns is None:
            self._first_ns = self._clock()
        if not self._stopped and not self._limits.full:
            self._stopped = self._over(batches, self.elapsed_s)
        return Pace.STOP if self._stopped else Pace.GO_ON

    def _over(self, batches: int, elapsed_s: float) -> bool:
        if elapsed_s >= self._limits.seconds:
            return True
        if self._limits.steps is not None:
            return batches >= self._limits.steps
        if elapsed_s < self._next_look_s:
            return False
        self._next_look_s = elapsed_s * LOOK_FACTOR
        return self._enough()
