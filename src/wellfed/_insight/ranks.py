"""What one rank tells of itself, and how ranks compare."""

from statistics import median
from typing import NamedTuple

from wellfed._insight.stats import summarise
from wellfed.records import RankSeen, StageStats, Trace

__all__ = ["Straggler", "rank_seen", "straggler"]


class Straggler(NamedTuple):
    """The rank that the others wait for, by its own waiting for data."""

    rank: RankSeen
    others_wait_s: float
    """What the others wait for their own data, in the middle."""
    others_step_s: float
    """Their step, with their waiting for this rank in it."""

    @property
    def excess_s(self) -> float:
        """How much longer it waits for data than the others."""
        return self.rank.wait_s - self.others_wait_s

    @property
    def gap_s(self) -> float:
        """How much longer the others' steps are than its own: they wait for it there."""
        return self.others_step_s - self.rank.step_s


def rank_seen(trace: Trace) -> RankSeen | None:
    """A rank as it saw itself; None if it saw not one whole step."""
    stats = summarise(trace)
    if stats is None:
        return None
    period_s = stats.period_s.value
    return RankSeen(
        rank=trace.rank,
        batches=stats.batches,
        period_s=period_s,
        wait_s=period_s * stats.wait_share.value,
        workers=trace.plan.workers,
        busy_cores=_busy_cores(stats),
        queue_share=stats.maker_queue_share,
    )


def straggler(ranks: tuple[RankSeen, ...]) -> Straggler | None:
    """The rank that waits longest for data, against the middle of the others; None of fewer than 2.

    In a run whose ranks meet at every step all periods are the same: the slow rank's is filled by
    its wait, the others' by their steps, which end when it comes.
    """
    if len(ranks) < 2:
        return None
    slow = max(ranks, key=lambda one: one.wait_s)
    others = [one for one in ranks if one is not slow]
    return Straggler(
        rank=slow,
        others_wait_s=median(one.wait_s for one in others),
        others_step_s=median(one.step_s for one in others),
    )


def _busy_cores(stats: StageStats) -> float:
    period_s, fetch = stats.period_s.value, stats.stages.get("fetch")
    if not period_s:
        return 0.0
    making_s = ((fetch.cpu_s or 0.0) if fetch is not None else 0.0) * (1 + stats.native_cpu_share)
    step_s = period_s * (1 - stats.wait_share.value) * (stats.step_cpu_cores or 0.0)
    return (making_s + step_s) / period_s
