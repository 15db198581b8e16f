"""Which plan to try next, or which is best: a few measurements, led by the model.

    present plan ─► best by the model ─► again, as long as a better one is expected
                    └─ one far past the cores, one with fewer workers ─► the best in turn ─► Stop

The model is corrected by each measurement: where plans of a kind came out slower than it said, it
is believed that much less of all of them, and least of their neighbours (`_insight.carrying`).

Guarantees
- the answer was measured at least twice, and so was the present plan, in turn with it if the two
  are close;
- within `TIE` of the best, the plan with the fewest workers wins, then the one with least memory;
- at most `MOST_PLANS` different plans are tried.
"""

from collections.abc import Mapping, Sequence
from math import exp, hypot, log

from wellfed._insight.carrying import Missed, carry
from wellfed._tuner.readings import Reading, error_of, means_of
from wellfed._tuner.space import Choice, Space
from wellfed.records import Plan
from wellfed.records._record import Record

__all__ = ["CERTAIN", "MOST_PLANS", "TIE", "Ask", "Stop", "ask", "best_of", "corrected"]

TIE = 0.02
"""Plans this close are as good as each other."""

MOST_PLANS = 6
"""Different plans that are tried, the present one included."""

MOST_TURNS = 4
"""Stretches of one plan; more narrow its interval by less than a tenth each."""

LEAST_TURNS = 2
"""Stretches that an answer and what it is compared with rest on: one alone may have met none of
the slow samples of a long tail, or more than its share, and its own interval does not tell."""

COMMON_ERROR = 0.3
"""Standard deviation of what forecasts from the present plan have wrong for all plans with workers,
or for all without: that the samples cost something else there. It is wide, so that the first
measurement of a kind decides about it."""

CERTAIN = 1.645
"""Standard errors on either side of a 90 % interval."""


class Ask(Record, frozen=True, kw_only=True):
    """Measure this plan next."""

    plan: Plan
    why: str


class Stop(Record, frozen=True, kw_only=True):
    """The search is over."""

    best: Plan
    why: str


def ask(space: Space, readings: Sequence[Reading]) -> Ask | Stop:
    """What to measure next, given all that was measured.

    Args:
        space: what may be tried; its first choice is the present plan.
        readings: stretches, in the order they were run.
    """
    present = space.choices[0].plan
    means = means_of(readings)
    failed = {one.plan for one in readings if one.failed}
    if present in failed:
        return Stop(best=present, why="the present plan does not run in a trial")
    if present not in means:
        return Ask(plan=present, why="the plan that is to be beaten")
    expected = corrected(space, means)
    left = [one for one in space.choices if one.plan not in means and one.plan not in failed]
    if len(means) + len(failed) < MOST_PLANS and left:
        step = _explore(space, means, expected, left)
        if step is not None:
            return step
    return _decide(space, readings, means)


def best_of(space: Space, readings: Sequence[Reading]) -> Plan:
    """The best of what was measured: the fewest workers within `TIE` of the fastest."""
    means = means_of(readings)
    if not means:
        return space.choices[0].plan if space.choices else Plan()
    fastest = min(means.values())
    near = [plan for plan, seconds in means.items() if seconds <= fastest * (1 + TIE)]
    return min(near, key=lambda plan: _price(space, plan))


def _price(space: Space, plan: Plan) -> tuple[int, int, int]:
    choice = space.choice(plan)
    memory = choice.memory_bytes if choice is not None else 0
    return plan.workers, memory, plan.prefetch or 0


def corrected(space: Space, means: Mapping[Plan, float]) -> dict[Plan, float]:
    """Expected seconds of every choice, given what was measured of some."""
    forecast = {one.plan: one.seconds for one in space.choices}
    missed = [
        Missed(plan, log(seconds / forecast[plan]))
        for plan, seconds in means.items()
        if plan in forecast
    ]
    carried = carry(missed, list(forecast), common_error=COMMON_ERROR)
    return {
        plan: seconds * exp(miss.log_ratio)
        for (plan, seconds), miss in zip(forecast.items(), carried, strict=True)
    }


def _explore(
    space: Space, means: Mapping[Plan, float], expected: Mapping[Plan, float], left: list[Choice]
) -> Ask | None:
    """A plan not yet measured that is worth it; None if there is none."""
    fastest = min(means.values())
    hoped = min(left, key=lambda one: expected[one.plan])
    if expected[hoped.plan] < fastest * (1 - TIE):
        near = [one for one in left if expected[one.plan] <= expected[hoped.plan] * (1 + TIE)]
        cheapest = min(near, key=lambda one: _price(space, one.plan))
        return Ask(plan=cheapest.plan, why="the model expects most of it")
    far = _far(space, means, left)
    if far is not None:
        return Ask(plan=far.plan, why="far past the cores, where a model goes wrong unseen")
    best = min(means, key=lambda plan: (means[plan] > fastest * (1 + TIE), _price(space, plan)))
    fewer = [
        one
        for one in left
        if one.plan.workers < best.workers
        and one.plan.prefetch in (best.prefetch, None)
        and expected[one.plan] <= fastest * (1 + 2 * TIE)
    ]
    if fewer:
        nearest = max(fewer, key=lambda one: one.plan.workers)
        return Ask(plan=nearest.plan, why="perhaps fewer workers do as well")
    return None


def _far(space: Space, means: Mapping[Plan, float], left: list[Choice]) -> Choice | None:
    """A plan with workers past the cores, unless one was measured."""
    counts = sorted({one.plan.workers for one in space.choices})
    past = [count for count in counts if count > space.cores]
    if not past or any(plan.workers >= past[0] for plan in means):
        return None
    wanted = min(past, key=lambda count: abs(count - 1.5 * space.cores))
    there = [one for one in left if one.plan.workers == wanted]
    return min(there, key=lambda one: abs((one.plan.prefetch or 2) - 2), default=None)


def _decide(space: Space, readings: Sequence[Reading], means: Mapping[Plan, float]) -> Ask | Stop:
    """The best in turn with its rival until they are told apart, or are the same."""
    best = best_of(space, readings)
    rivals = _rivals(space, readings, means, best)
    turns = {plan: sum(1 for one in readings if one.plan == plan) for plan in means}
    due = [plan for plan in (best, *rivals) if rivals and turns[plan] < MOST_TURNS]
    if due:
        last = readings[-1].plan
        turn = min(due, key=lambda one: (one == last, turns[one], _price(space, one)))
        return Ask(plan=turn, why="in turn with its rival")
    present = space.choices[0].plan
    again = _once_more(readings, turns, best, present)
    if again is not None:
        return Ask(plan=again, why="once more, on other samples")
    if best == present:
        return Stop(best=best, why="nothing that was tried is faster")
    others = [means[plan] for plan in means if plan != best]
    lead = min(others) / means[best] - 1 if others else 0.0
    if lead < TIE:
        return Stop(best=best, why="what is left differs by less than two per cent")
    return Stop(best=best, why="it is faster than all others, and not by noise")


def _once_more(
    readings: Sequence[Reading], turns: Mapping[Plan, int], best: Plan, present: Plan
) -> Plan | None:
    """The answer or what it is compared with, in turn, until it rests on enough; None then."""
    unsure = turns[best] < MOST_TURNS and error_of(readings, best) > TIE
    due = [one for one in (best, present) if turns[one] < LEAST_TURNS]
    if not due and not unsure:
        return None
    if unsure and turns[present] < MOST_TURNS:
        due = [best, present]
    last = readings[-1].plan
    return min(due or [best], key=lambda one: (one == last, turns[one]))


def _rivals(
    space: Space, readings: Sequence[Reading], means: Mapping[Plan, float], best: Plan
) -> list[Plan]:
    """Measured plans that might turn out to be the answer instead."""
    return [
        plan for plan in means if plan != best and _could_win(space, readings, means, best, plan)
    ]


def _could_win(
    space: Space,
    readings: Sequence[Reading],
    means: Mapping[Plan, float],
    best: Plan,
    other: Plan,
) -> bool:
    """Whether noise could have hidden that `other` is better.

    A cheaper one has to come within a tie, a dearer one has to be faster by more than that.
    """
    bar = log(1 + TIE) if _price(space, other) < _price(space, best) else -log(1 + TIE)
    apart = log(means[other] / means[best])
    noise = CERTAIN * hypot(error_of(readings, best), error_of(readings, other))
    return apart - noise < bar < apart + noise
