"""How often it was right: counts over outcomes, for wellfed and for the rules that people use.

The rules of thumb are written from the published constants of those tools, and look at the one
number that they look at: the share of a step inside `next()`. They name a phase, not a resource, so
they are asked no more than whether the run is bound by its input.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from planted.outcome import CONTROL, NEITHER, Outcome

__all__ = [
    "RULES_OF_THUMB",
    "Score",
    "Thumb",
    "confusion",
    "interval",
    "is_close",
    "of_thumbs",
    "score",
]

ABSTENTIONS = ("too_noisy", "not_enough_evidence")
NO_FIX = ("consumer_bound",)
"""Verdicts that say that the loader is not the matter."""

WITHIN = 0.15
"""A predicted gain is right if it is within this of the measured one."""

RULES_OF_THUMB = {
    "TensorFlow profiler, moderately input-bound (5 %)": 0.05,
    "TensorFlow profiler, highly input-bound (20 %)": 0.20,
    "PyTorch profiler plugin (5 %)": 0.05,
    "TraceML, warning (10 %)": 0.10,
    "TraceML, critical (20 %)": 0.20,
}
"""Share of the step in `next()` from which on each of them calls a run bound by its input."""


@dataclass(frozen=True)
class Score:
    """Counts over the runs that have a right answer."""

    positives: int
    controls: int
    neither: int
    """Runs without a right answer, left out of all the rest."""
    weak: int
    """Plants that cost less than a tenth: they became controls, or have no right answer."""
    top1: int
    """Positives whose verdict has the name of the cause."""
    top2: int
    """Positives with that name among the first two findings."""
    abstained: dict[str, int]
    """By name, positives and controls."""
    wrong: int
    """Positives with the name of something else."""
    quiet: int
    """Controls that were told there is nothing to fix."""
    alarms: int
    """Controls that were told of a bottleneck in the loader."""
    gains: tuple[tuple[float, float], ...]
    """Predicted and measured gain, of positives named rightly whose remedy was applied."""
    gains_close: int
    """Predictions within `WITHIN` of the measurement."""
    gains_inside: int
    """Measurements within the predicted interval."""
    bound_right: int
    """Runs of which it was said rightly whether they are bound by their input."""
    seconds: tuple[float, ...]
    watched_s: tuple[float, ...]


def score(outcomes: Sequence[Outcome]) -> Score:
    """All counts of a set of runs."""
    known = [one for one in outcomes if one.label != NEITHER]
    positives = [one for one in known if one.label != CONTROL]
    controls = [one for one in known if one.label == CONTROL]
    right = [one for one in positives if one.verdict == one.label]
    told = [one for one in right if one.predicted is not None and one.measured is not None]
    return Score(
        positives=len(positives),
        controls=len(controls),
        neither=len(outcomes) - len(known),
        weak=sum(1 for one in outcomes if one.cause and one.label != one.cause),
        top1=len(right),
        top2=sum(1 for one in positives if one.label in one.findings[:2]),
        abstained={name: sum(one.verdict == name for one in known) for name in ABSTENTIONS},
        wrong=sum(one.verdict not in (one.label, *ABSTENTIONS) for one in positives),
        quiet=sum(one.verdict in NO_FIX for one in controls),
        alarms=sum(one.verdict not in (*NO_FIX, *ABSTENTIONS) for one in controls),
        gains=tuple(_gains(told)),
        gains_close=sum(is_close(*gain) for gain in _gains(told)),
        gains_inside=sum(_inside(one) for one in told),
        bound_right=sum(_says_bound(one) is _is_bound(one) for one in known),
        seconds=tuple(one.seconds for one in known),
        watched_s=tuple(one.watched_s for one in known),
    )


@dataclass(frozen=True)
class Thumb:
    """How a rule of thumb did on the same runs."""

    name: str
    right: int
    missed: int
    """Bound by their input, and not called so."""
    alarms: int
    """Controls that were called so."""
    of: int


def of_thumbs(outcomes: Sequence[Outcome]) -> list[Thumb]:
    """Each rule of thumb, asked whether a run is bound by its input."""
    known = [one for one in outcomes if one.label != NEITHER]
    return [_thumb(name, limit, known) for name, limit in RULES_OF_THUMB.items()]


def confusion(outcomes: Iterable[Outcome]) -> dict[str, Counter[str]]:
    """For each right answer, how often each verdict was given."""
    told: dict[str, Counter[str]] = {}
    for one in outcomes:
        if one.label != NEITHER:
            told.setdefault(one.label, Counter())[one.verdict] += 1
    return told


def interval(part: int, whole: int) -> tuple[float, float]:
    """Between which shares the true one lies, nine times of ten (Wilson's interval)."""
    z = 1.645
    share = part / whole
    middle = share + z * z / (2 * whole)
    half = z * math.sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole))
    return (
        max(0.0, (middle - half) / (1 + z * z / whole)),
        min(1.0, (middle + half) / (1 + z * z / whole)),
    )


def is_close(predicted: float, measured: float) -> bool:
    """Whether a predicted gain counts as right."""
    return abs(predicted / measured - 1) <= WITHIN


def _thumb(name: str, limit: float, known: Sequence[Outcome]) -> Thumb:
    missed = sum(_is_bound(one) and one.share_in_next < limit for one in known)
    alarms = sum(not _is_bound(one) and one.share_in_next >= limit for one in known)
    return Thumb(name, len(known) - missed - alarms, missed, alarms, len(known))


def _is_bound(one: Outcome) -> bool:
    return one.label != CONTROL


def _says_bound(one: Outcome) -> bool | None:
    """What the verdict says of it; None if there is none."""
    return None if one.verdict in ABSTENTIONS else one.verdict not in NO_FIX


def _gains(told: Iterable[Outcome]) -> list[tuple[float, float]]:
    return [(one.predicted[0], one.measured) for one in told if one.predicted and one.measured]


def _inside(one: Outcome) -> bool:
    if one.predicted is None or one.measured is None:
        return False
    return one.predicted[1] <= one.measured <= one.predicted[2]
