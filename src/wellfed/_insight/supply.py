"""How a case is read: what the consumer loses to data, who makes the batches, which cores are left.

The rules ask these questions and no other module's; each answer is one number with its meaning.
"""

from wellfed._insight.estimate import scale
from wellfed.records import Case, Estimate, Forecast, Plan

__all__ = [
    "SIGNIFICANT",
    "best_workers",
    "busy_cores",
    "computes",
    "forecast",
    "free_cores",
    "lost_share",
    "makers_busy_share",
    "neighbour_cores",
    "stage_s",
    "startup_share",
    "usable_cores",
    "waits",
    "without_workers",
]

# A loss below one part in twenty is not worth a change of settings: it is within what two runs of
# the same script differ by on a busy machine. (5 % is also where torch's own profiler begins to
# speak of the loader.)
SIGNIFICANT = 0.05


def lost_share(case: Case) -> Estimate:
    """Share of the consumer's steady time that data cost: what free data would win, 0 to 1.

    On a device that works asynchronously it is the time the device stood idle, because a trainer
    that waits while its device is still busy loses nothing.
    """
    waited = case.stats.wait_share
    stalled = case.stats.device_stall_share
    if stalled is None or waited.value <= 0:
        return waited
    return scale(waited, min(1.0, stalled / waited.value))


def waits(case: Case) -> bool:
    """Whether the consumer loses enough to data to be worth a change."""
    return lost_share(case).value >= SIGNIFICANT


def stage_s(case: Case, name: str) -> float:
    """Mean wall seconds per batch of a stage; 0 where it does not exist."""
    stage = case.stats.stages.get(name)
    return stage.wall_s.value if stage is not None else 0.0


def computes(case: Case) -> bool:
    """Whether making a batch is mostly computing (or queueing for a core), not being blocked."""
    return case.stats.maker_off_share < 0.5


def makers_busy_share(case: Case) -> float:
    """Share of the workers' time spent fetching, 0 to 1; without workers, of the waits.

    Near 1 the workers are the limit; well below it something else is.
    """
    fetch_s, period_s = stage_s(case, "fetch"), case.stats.period_s.value
    if case.plan.workers == 0:
        wait_s = period_s * case.stats.wait_share.value
        return fetch_s / wait_s if wait_s else 0.0
    return fetch_s / (case.plan.workers * period_s) if period_s else 0.0


def usable_cores(case: Case) -> float:
    """Cores that this process may use, neighbours left out of account."""
    return float(case.machine.cpus_usable.value or case.machine.cpus_host.value or 1)


def neighbour_cores(case: Case) -> float:
    """Cores that other people's processes keep busy."""
    return max(0.0, case.stats.gauges.get("neighbour_busy_cores", 0.0))


def busy_cores(case: Case) -> float:
    """Cores that the trainer and its workers keep busy, from their own CPU clocks."""
    period_s = case.stats.period_s.value
    if not period_s:
        return 0.0
    fetch = case.stats.stages.get("fetch")
    making_s = (fetch.cpu_s or 0.0) if fetch is not None else 0.0
    making_s *= 1 + case.stats.native_cpu_share
    step_s = period_s * (1 - case.stats.wait_share.value) * (case.stats.step_cpu_cores or 0.0)
    return (making_s + step_s) / period_s


def free_cores(case: Case) -> float:
    """Usable cores that nobody keeps busy."""
    return max(0.0, usable_cores(case) - busy_cores(case) - neighbour_cores(case))


def startup_share(case: Case) -> float:
    """Share of an epoch spent starting and ending workers, 0 to 1."""
    stats = case.stats
    if stats.startup_s is None:
        return 0.0
    epoch_s = stats.epoch_s
    if epoch_s is None:
        batches = case.workload.batches_per_epoch
        if batches is None:
            return 0.0
        epoch_s = batches * stats.period_s.value + stats.startup_s.value + stats.shutdown_s
    return min(1.0, (stats.startup_s.value + stats.shutdown_s) / epoch_s) if epoch_s else 0.0


def forecast(case: Case, plan: Plan) -> Forecast | None:
    """What the model expects of `plan`; None if it was not asked."""
    return next((one for one in case.forecasts if one.plan == plan), None)


def best_workers(case: Case) -> Forecast | None:
    """The fewest workers within 2 % of the best, other settings as they are; None without any.

    The plan that ran competes with a gain of 1, so the answer can be None: nothing is better.
    """
    others = [
        one
        for one in case.forecasts
        if one.plan.workers > 0
        and one.plan.in_order == case.plan.in_order
        and one.plan.persistent == case.plan.persistent
        and one.plan.prefetch == (case.plan.prefetch or 2)
    ]
    best = max(others, key=lambda one: one.gain.value, default=None)
    if best is None or best.gain.value <= 1.02:
        return None
    near = [one for one in others if one.gain.value >= 0.98 * best.gain.value]
    return min(near, key=lambda one: one.plan.workers)


def without_workers(case: Case) -> Forecast | None:
    """What the model expects of `num_workers=0`; None if that is what ran."""
    return next((one for one in case.forecasts if one.plan.workers == 0), None)
