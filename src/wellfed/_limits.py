"""What a loader may take of the machine, and what is read of the machine while it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Limits", "Room"]


class Room(NamedTuple):
    """What the machine leaves of its memory, at one moment."""

    left_bytes: float
    """What may still be allocated before the tightest limit is met, caches given up."""
    total_bytes: float
    """That limit."""
    stalled_s: float = 0.0
    """Time in which some process waited for memory, in all so far."""
    kills: int = 0
    """Processes that the kernel ended for want of memory, in all so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one loader may take. Facts that change are asked for, with functions that are cheap."""

    memory_bytes: int
    """Of slabs and worker processes together."""
    given: bool
    """Whether the user said so; else it follows from what the machine leaves."""
    most_workers: int
    """Worker processes that fit, as forecast."""
    binding: str = ""
    """What the number of workers was limited by, with the numbers, as a sentence."""
    ranks: int = 1
    """Processes on this machine that load data at the same time, this one among them."""
    worker_bytes: float = 0.0
    """Memory of a worker of its own, as forecast."""
    room: Callable[[], Room | None] = lambda: None
    """What the machine leaves now; None where that cannot be read."""
    private_bytes: Callable[[int], float | None] = lambda _pid: None
    """Memory that a process shares with no other; None where that cannot be read."""
    say: Callable[[str, str], None] = lambda _direction, _sentence: None
    """Told of each change, after "less" or "more": it is logged once, and kept for the report."""
