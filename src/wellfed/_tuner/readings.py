"""What trials showed, and what they amount to for each plan."""

from collections.abc import Iterable, Sequence
from math import sqrt
from statistics import fmean

from wellfed.records import Plan
from wellfed.records._record import Record

__all__ = ["Reading", "error_of", "means_of"]


class Reading(Record, frozen=True, kw_only=True):
    """One stretch of one plan, in steady state."""

    plan: Plan
    seconds: float = 0.0
    """Mean seconds per batch."""
    error: float = 0.0
    """Standard error of that mean, relative to it."""
    failed: str = ""
    """Why it did not come to an end; "" if it did."""


def means_of(readings: Iterable[Reading]) -> dict[Plan, float]:
    """Seconds per batch of each plan that ran, over all its stretches."""
    by_plan: dict[Plan, list[float]] = {}
    for one in readings:
        if not one.failed:
            by_plan.setdefault(one.plan, []).append(one.seconds)
    return {plan: fmean(seconds) for plan, seconds in by_plan.items()}


def error_of(readings: Sequence[Reading], plan: Plan) -> float:
    """Relative standard error of a plan's mean: within its stretches, or between them if more."""
    own = [one for one in readings if one.plan == plan and not one.failed]
    within = fmean(one.error for one in own) / sqrt(len(own))
    if len(own) < 2:
        return within
    seconds = [one.seconds for one in own]
    spread = max(seconds) - min(seconds)
    # Range to standard deviation for 2 to 4 values (Dixon): 1.13, 1.69, 2.06.
    deviation = spread / {2: 1.13, 3: 1.69}.get(len(own), 2.06)
    return max(within, deviation / sqrt(len(own)) / fmean(seconds))
