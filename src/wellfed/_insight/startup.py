"""What starting workers costs, and which number of them is best for epochs that each start anew.

    epoch(W) = a W + f + s / W

Workers start one after another, each in the trainer's own time, so the start is linear in their
number; what it buys is a shorter period.
"""

import math
from typing import NamedTuple

import numpy as np

from wellfed._insight.supply import stage_s, usable_cores
from wellfed.records import Case

__all__ = ["EpochCurve", "StartUp", "epoch_curve_of", "start_up_of"]


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

    def best_workers(self, most: float = math.inf) -> int:
        """Where the curve is lowest, beside sqrt(s / a); 1 at the least.

        Args:
            most: a limit from cores, memory or the step.
        """
        lowest = math.sqrt(self.shared_s / self.each_s) if self.each_s > 0 else most
        below = max(1, math.floor(min(lowest, most)))
        return min((below, below + 1), key=self.seconds) if below + 1 <= most else below


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


def epoch_curve_of(case: Case) -> tuple[EpochCurve, float] | None:
    """What epochs of a run would take with other numbers of workers, started anew for each.

    Returns:
        The curve, and how many workers have something to do: what cores allow, and the step asks
        for. None if no start of workers was seen.
    """
    start, stats = start_up_of(case), case.stats
    batches, epoch_s = case.workload.batches_per_epoch, stats.epoch_s
    if start is None or not batches or not epoch_s:
        return None
    making_s = batches * stage_s(case, "fetch")
    step_s = batches * stats.period_s.value * (1 - stats.wait_share.value)
    now = case.plan.workers
    fixed_s = max(0.0, epoch_s - start.each_s * now - making_s / now)
    most = min(usable_cores(case), making_s / step_s if step_s else math.inf)
    return EpochCurve(start.each_s, fixed_s, making_s), max(1.0, most)
