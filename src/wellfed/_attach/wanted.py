"""What a tuning is to do: one value, passed whole. Imports nothing that is heavy."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

__all__ = ["Follower", "Wanted"]


class Follower(Protocol):
    """Is told how the trials go; `wellfed._report.trying.TrialProgress` is one."""

    def begins(self, name: str, why: str, spent_s: float) -> None:
        """A trial is about to run, so many seconds after the first began."""

    def ended(self, name: str, said: str, took_s: float, spent_s: float) -> None:
        """It came to this, and took so long, start-up included."""

    def close(self) -> None:
        """There are no more. Harmless when called twice."""


class Wanted(NamedTuple):
    """The limits of a tuning, what it is to run, and who is told."""

    budget_s: float
    """Seconds that all trials may take."""
    memory_bytes: int | None = None
    """What the workers of a plan may take; None for no limit."""
    sweep: Mapping[str, Sequence[Any]] | None = None
    """Run every combination of these values instead of searching."""
    follower: Follower | None = None
    tell: Callable[[str], None] | None = None
    """Shown what each trial came to, a line at a time, where there is no follower."""
