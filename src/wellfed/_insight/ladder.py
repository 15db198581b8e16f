"""What the ladder says: lines that add up to the period, and which of them is the largest. Pure.

    rungs ─ costs_of ─► period, Cost, ... ─ name_of ─► the largest cost, "step", or nothing

A cost that is hidden behind another comes out as nothing: taking it away alone gains nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from wellfed._insight.estimate import difference, mean_estimate, scale
from wellfed._insight.supply import LITTLE, SIGNIFICANT
from wellfed.records import Cost, Estimate

__all__ = ["costs_of", "is_clear", "name_of"]

# What a rung no longer has that the one above it had.
PARTS: Mapping[str, str] = {
    "warm": "storage",
    "waits": "compute",
    "memoised": "waiting",
    "collated": "hand_over",
    "tiny": "collate",
    "cached": "floor",
}

# A second cost of four fifths of the first is as good a name for the run.
ALONE = 0.8

# Lines known to a twentieth of the period are as good as people read them.
CLEAR = 0.05


def costs_of(
    readings: Mapping[str, Sequence[float]], failed: Collection[str] = ()
) -> tuple[Estimate, tuple[Cost, ...]]:
    """The period and its lines, which add up to it.

    Args:
        readings: seconds of each batch, for each rung that ran, from the top.
        failed: rungs that were tried and have no readings; what they would have told apart stays
            together in one line.
    """
    rungs = {name: mean_estimate(values) for name, values in readings.items()}
    names = list(rungs)
    costs = [
        Cost(name=_between(upper, lower, failed), seconds=difference(rungs[upper], rungs[lower]))
        for upper, lower in pairwise(names)
    ]
    last = names[-1]
    name = "step" if last == "cached" else "rest"
    return rungs[names[0]], (*costs, Cost(name=name, seconds=rungs[last]))


def _between(upper: str, lower: str, failed: Collection[str]) -> str:
    """What is taken away between two rungs that ran."""
    order = ["as_is", *PARTS]
    passed = order[order.index(upper) + 1 : order.index(lower) + 1]
    # A rung that was not tried had nothing to take away here.
    return "+".join(PARTS[one] for one in passed if one == lower or one in failed)


def name_of(period_s: Estimate, costs: Sequence[Cost]) -> str:
    """The largest cost; "step" where all others together are too little; "" if it is open."""
    if not costs or costs[-1].name != "step":
        return ""
    step_s = costs[-1].seconds
    lost = scale(difference(period_s, step_s), 1 / period_s.value)
    if lost.high < LITTLE or lost.value < SIGNIFICANT:
        return "step"
    if lost.low <= 0:
        return ""
    ranked = sorted(costs[:-1], key=lambda one: -one.seconds.value)
    first, others = ranked[0], ranked[1:]
    rivals = any(one.seconds.value > ALONE * first.seconds.value for one in others)
    if first.seconds.low <= 0 or rivals:
        return ""
    return first.name


def is_clear(readings: Mapping[str, Sequence[float]]) -> bool:
    """Whether one cost stands out so far that closer readings would name no other."""
    if "cached" not in readings:
        return False
    period, costs = costs_of(readings)
    named = name_of(period, costs)
    if not named:
        return False
    widest = max((one.seconds.high - one.seconds.low) / 2 for one in costs)
    first = next(one.seconds for one in costs if one.name == named)
    others = [one.seconds.high for one in costs[:-1] if one.name != named]
    apart = named == "step" or all(high < ALONE * first.low for high in others)
    return apart and widest <= CLEAR * period.value
