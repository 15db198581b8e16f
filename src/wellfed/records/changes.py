"""What a loader did about its plan while it trained, and why."""

from wellfed.records._record import Record
from wellfed.records.plan import Plan

__all__ = ["Change"]


class Change(Record, frozen=True, kw_only=True):
    """One decision about the plan."""

    kind: str
    """"switch": another plan from here on; "undo": the earlier one is back; "by hand": you asked
    for it; "out of reach": it would have helped, and was not done."""
    at_s: float
    """Seconds since the loader's first iterator began."""
    batch: int
    """Batches that the loader had delivered by then, over all its epochs."""
    before: Plan
    after: Plan
    """The same as `before` where nothing was done."""
    why: str
    """In a clause, with the numbers that it rests on."""
