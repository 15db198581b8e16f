"""What a store gives as more readers ask at once: in proportion, until it has no more to give.

batches/s
|        ________ ceiling
|      /
|    /   1 / alone_s
|  /
+------------------ readers blocked at once, in the mean
"""

from collections.abc import Sequence
from typing import NamedTuple

from wellfed._insight.supply import blocked_share, stage_s
from wellfed.records import Case

__all__ = ["StorageCurve", "read_at_once", "storage_curve"]

# Blocked time that grows by less than this is latency that varies, not a store at its limit.
CLEARLY_SLOWER = 1.15

# Where workers queue for cores, what looks blocked is part of that.
MOST_QUEUED = 0.1


class StorageCurve(NamedTuple):
    """Two straight pieces."""

    alone_s: float
    """Blocked seconds per batch while the store is not at its limit."""
    least_period_s: float
    """Seconds per batch at the limit; 0 where none was reached."""

    def stretch(self, readers: float) -> float:
        """Lambda: by how much so many readers at once lengthen the blocked time."""
        if not readers:
            return 1.0
        return max(1.0, readers * self.least_period_s / self.alone_s)


def read_at_once(case: Case) -> tuple[float, float] | None:
    """Readers that were blocked at once, in the mean, and blocked seconds per batch.

    By Little's law the first is the second over the period. None where a fetch mostly computes or
    queues for a core, so that a store is not what it waits for.
    """
    stats = case.stats
    if blocked_share(case) < 0.5 or stats.maker_queue_share > MOST_QUEUED:
        return None
    blocked_s = stage_s(case, "fetch") * stats.maker_off_share
    return blocked_s / stats.period_s.value, blocked_s


def storage_curve(seen: Sequence[tuple[float, float]]) -> StorageCurve | None:
    """The curve through runs of different numbers of readers; None without any.

    The knee is where one piece meets the other. A ceiling is told only where a run was clearly
    slowed: what is below the knee says nothing of it.

    Args:
        seen: readers at once and blocked seconds per batch, of each run.
    """
    if not seen:
        return None
    alone_s = min(blocked_s for _, blocked_s in seen)
    periods = [
        blocked_s / readers for readers, blocked_s in seen if blocked_s > CLEARLY_SLOWER * alone_s
    ]
    # The highest rate that was reached at the limit; noise only ever lowers one.
    return StorageCurve(alone_s, min(periods, default=0.0))
