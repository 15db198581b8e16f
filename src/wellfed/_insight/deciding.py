"""While experiments run: how long a stretch is, how large a delay, when enough is known. Pure."""

import math
from collections.abc import Mapping, Sequence

from wellfed._insight.estimate import difference, divide, mean_estimate, scale
from wellfed._insight.steady import find_steady, step_ns
from wellfed.records import Case, Estimate, Trace

__all__ = [
    "block_batches",
    "decided",
    "delay_decided",
    "delay_share",
    "epoch_gain",
    "factor_decided",
    "replayed_steps",
    "slope",
]

# Longer blocks average more; shorter ones follow a machine whose speed drifts. Half a second is
# some tens of scheduler periods, and a twentieth of the budget for one round of the ladder.
BLOCK_S = 0.4
LEAST_BATCHES = 12
MOST_BATCHES = 120

# A delay of 5 % leaves the pipeline what it was; noise may need more, up to a quarter.
LEAST_DELAY_SHARE = 0.05
MOST_DELAY_SHARE = 0.25

# A stage sets the pace if more than half of what is added to it is added to the period.
CRITICAL = 0.5

# The largest gain of an epoch that is believed of its start.
MOST_GAIN = 20.0

# Two runs of the same settings differ by as much.
NO_GAIN = 0.03

# Steps that are replayed before they repeat.
MOST_STEPS = 512


def block_batches(case: Case) -> int:
    """Batches that are timed at a stretch: whole turns of the workers, about half a second."""
    wanted = math.ceil(BLOCK_S / max(1e-6, case.stats.period_s.value))
    batches = min(MOST_BATCHES, max(LEAST_BATCHES, wanted))
    workers = max(1, case.plan.workers)
    return math.ceil(batches / workers) * workers


def decided(readings: Mapping[str, Sequence[float]]) -> bool:
    """Whether more rounds of the ladder would not change what it says.

    Each step down is known to a twentieth of the period, or is clearly apart from its rivals.
    """
    if "as_is" not in readings or "cached" not in readings:
        return False
    rungs = [mean_estimate(values) for values in readings.values()]
    period_s = rungs[0].value
    widest = max((one.high - one.low) / 2 for one in rungs)
    return widest <= 0.025 * period_s


def delay_share(period: Estimate) -> float:
    """Which part of the period to add, so that its effect stands out of the noise."""
    # Eight half-widths: the difference of two such means is then known to about a fifth of it, and
    # to a half where the machine is as much noisier as it often is a minute later.
    return min(MOST_DELAY_SHARE, max(LEAST_DELAY_SHARE, 8 * period.spread))


def slope(base: Sequence[float], delayed: Sequence[float], added_s: float) -> Estimate:
    """The share of an added delay by which the period became longer."""
    return scale(difference(mean_estimate(delayed), mean_estimate(base)), 1 / added_s)


def delay_decided(base: Sequence[float], delayed: Sequence[float], added_s: float) -> bool:
    """Whether a delay clearly shows, or clearly does not."""
    shown = slope(base, delayed, added_s)
    known = (shown.high - shown.low) / 2 < CRITICAL
    return known and (shown.low > CRITICAL or shown.high < CRITICAL)


def factor_decided(base: Sequence[float], changed: Sequence[float]) -> bool:
    """Whether a change clearly gains, clearly gains nothing, or is known within 3 %."""
    old, new = mean_estimate(base), mean_estimate(changed)
    if not new.value:
        return True
    gain = divide(old, new)
    return gain.low > 1 + 2 * NO_GAIN or gain.high < 1 + NO_GAIN or gain.spread < NO_GAIN


def epoch_gain(epoch_s: float, start: Estimate, other: Estimate) -> Estimate:
    """New speed over old of whole epochs, where each begins and ends in another time."""
    saved = difference(start, other)
    # Epochs that are little but their start: more than this cannot be told of them.
    most_s = (1 - 1 / MOST_GAIN) * epoch_s
    low, value, high = (
        epoch_s / (epoch_s - min(one, most_s)) for one in (saved.low, saved.value, saved.high)
    )
    return Estimate(value=value, low=low, high=high, n=saved.n)


def replayed_steps(trace: Trace) -> tuple[tuple[float, float], ...]:
    """The run's own steps, in their order: seconds that waited, and CPU seconds.

    More than one core at a time is replayed as one: the step takes as long, and leaves the others
    to the workers. A device that goes on working while the trainer already waits makes its step
    that much longer, because data that came earlier would gain nothing of it.
    """
    steady = find_steady(trace)
    steps = []
    for before, span in zip(steady.before, steady.spans, strict=True):
        took_s = step_ns(before, span) / 1e9
        cpu_s = took_s
        if span.asked_cpu_ns >= 0 and before.got_cpu_ns >= 0:
            cpu_s = min(took_s, max(0, span.asked_cpu_ns - before.got_cpu_ns) / 1e9)
        goes_on_s = 0.0
        if span.device_stall_ns >= 0:
            goes_on_s = max(0, span.wait_ns - span.device_stall_ns) / 1e9
        steps.append((took_s - cpu_s + goes_on_s, cpu_s))
    return tuple(steps[:MOST_STEPS])
