"""What starting workers costs, and which number of them is best for whole epochs.

    epoch(W) = a W + f + first batch + batches * period(W)

Workers start one after another, each in the trainer's own time, so the start is linear in their
number; what it buys is a shorter period. With workers that stay, the start is paid once for all
epochs.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from wellfed._insight.estimate import Floats
from wellfed.records import Case

__all__ = ["EpochCurve", "StartUp", "break_even_epochs", "fit_epochs", "start_up_of"]


class StartUp(NamedTuple):
    """Seconds that one start of the workers takes, without the first batch itself."""

    each_s: float
    """Per worker: `Process.start()`, and to pickle the dataset where it is spawned."""
    fixed_s: float
    """Whatever their number: queues, threads, the first batch's way to the trainer, the end."""

    def seconds(self, workers: int) -> float:
        """A start of so many."""
        return self.each_s * workers + self.fixed_s if workers else 0.0


class EpochCurve(NamedTuple):
    """Seconds of an epoch of a given job by the number of workers: `a W + f + s / W`."""

    each_s: float
    """a: what one more worker costs."""
    fixed_s: float
    """f: what no number of workers changes: the serial part, the step of a slow trainer."""
    shared_s: float
    """s: what all workers share out among them."""

    def seconds(self, workers: float) -> float:
        """An epoch with so many workers, 1 or more."""
        return self.each_s * workers + self.fixed_s + self.shared_s / workers

    def best_workers(self, epochs: int = 1, most: float = float("inf")) -> float:
        """Where the curve is lowest: sqrt(E s / a) if workers stay for E epochs; 1 at the least.

        Args:
            epochs: epochs that one start serves.
            most: a limit from cores or memory.
        """
        if self.each_s <= 0:
            return most
        return max(1.0, min(most, math.sqrt(epochs * self.shared_s / self.each_s)))


def start_up_of(case: Case) -> StartUp | None:
    """What starting cost in a run; None if no start of workers was seen.

    The first batch is left out: it is made at leisure, whoever makes it.
    """
    started = [epoch for epoch in case.trace.epochs if epoch.start_ns and epoch.first_ns >= 0]
    fetch = case.stats.stages.get("fetch")
    if not started or fetch is None:
        return None
    each_s = float(np.mean([sum(epoch.start_ns) / len(epoch.start_ns) for epoch in started])) * 1e-9
    first_s = float(np.mean([epoch.first_ns - epoch.iter_ns for epoch in started])) * 1e-9
    # Workers fetch their first batch side by side, without a queue before them.
    fixed_s = first_s - each_s * case.plan.workers - fetch.wall_s.value
    return StartUp(each_s, max(0.0, fixed_s) + case.stats.shutdown_s)


def break_even_epochs(
    start: StartUp, epoch_s: Callable[[int], float], now: int, then: int
) -> float:
    """After how many epochs other workers, that stay, have earned their start; inf if never.

    Args:
        start: what starting costs.
        epoch_s: seconds of an epoch by workers, without their start.
        now: workers there are already, whose start is paid.
        then: workers instead; all of them are started anew.
    """
    saved_s = epoch_s(now) - epoch_s(then)
    if saved_s <= 0:
        return float("inf")
    return start.seconds(then) / saved_s


def fit_epochs(seconds: Sequence[tuple[int, float]]) -> EpochCurve:
    """The curve through whole epochs measured at three or more numbers of workers.

    Least squares of the relative error, with no negative part: one that would be is left out, the
    most negative first.

    Raises:
        ValueError: fewer than three numbers of workers.
    """
    counts: Floats = np.array([workers for workers, _ in seconds], dtype=np.float64)
    times: Floats = np.array([taken for _, taken in seconds], dtype=np.float64)
    if len(set(counts.tolist())) < 3:
        raise ValueError(f"{len(seconds)} points: measure three numbers of workers or more.")
    columns = np.stack([counts, np.ones_like(counts), 1 / counts], axis=1) / times[:, None]
    kept = [0, 1, 2]
    while kept:
        found, *_ = np.linalg.lstsq(columns[:, kept], np.ones_like(counts), rcond=None)
        if found.min() >= 0:
            parts = dict(zip(kept, found.tolist(), strict=True))
            return EpochCurve(*(parts.get(one, 0.0) for one in range(3)))
        del kept[int(np.argmin(found))]
    return EpochCurve(0.0, float(times.mean()), 0.0)
