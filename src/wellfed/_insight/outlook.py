"""What the model expects of the plans that could be used instead of the one that ran."""

import msgspec
import numpy as np

from wellfed._insight.estimate import divide, scale
from wellfed._insight.memory import fit, memory_use
from wellfed._insight.pipeline import demand_of
from wellfed._insight.predict import predict_period, speedup, worker_curve
from wellfed._insight.startup import start_up_of
from wellfed._insight.supply import by_rows, ceiling, respawn_s, stage_s, usable_cores
from wellfed.records import Case, Estimate, Forecast, Plan

__all__ = ["forecast_of", "forecasts", "gain_of", "worker_counts"]

# Past these, a step of one is no news: the curve is flat or linear between them.
COUNTS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


def forecasts(case: Case, rng: np.random.Generator) -> tuple[Forecast, ...]:
    """Other numbers of workers, a deeper buffer, delivery out of order, workers that stay.

    Gains are in steady state; over whole epochs where workers were seen to be started anew, and
    for none instead of some, because starting and ending them is part of the cost. A plan that
    would not fit into memory, /dev/shm or the open files is not told.
    """
    plan = case.plan
    if plan.threads or by_rows(case):
        # What a worker with threads took is told of several batches at once, and not of one; and
        # rows of tensors in memory are read in the trainer's process, whatever is asked for.
        return ()
    told = [
        forecast_of(case, other, gain_of(case, other, period_s))
        for other, period_s in worker_curve(case, worker_counts(case), rng)
        if other != plan and (other.workers <= plan.workers or fit([case], other).fits)
    ]
    if plan.workers:
        variants = [msgspec.structs.replace(plan, prefetch=4 * (plan.prefetch or 2))]
        if plan.in_order and plan.workers > 1:
            variants.append(msgspec.structs.replace(plan, in_order=False))
        variants = [other for other in variants if fit([case], other).fits]
        told += [
            forecast_of(case, other, gain_of(case, other, predict_period(case, other, rng)))
            for other in variants
        ]
        told += _persistent(case)
    return tuple(told)


def worker_counts(case: Case) -> list[int]:
    """Worker counts worth asking about: up to what the demand could use, and twice the cores."""
    step_s = max(1e-6, case.stats.period_s.value * (1 - case.stats.wait_share.value))
    wanted = stage_s(case, "fetch") / step_s
    most = max(2 * usable_cores(case), 1.5 * wanted, case.plan.workers, 2)
    return sorted({*(count for count in COUNTS if count <= most), case.plan.workers})


def gain_of(case: Case, other: Plan, period_s: Estimate) -> Estimate:
    """New speed over old; with no workers instead of some, by a trial if there was one.

    Over whole epochs where workers were seen to be started anew, else in steady state.

    Args:
        case: the run.
        other: another plan.
        period_s: seconds from batch to batch that the model expects of it.
    """
    now = case.stats.period_s
    if other.workers and case.plan.workers and respawn_s(case):
        return _gain_of_epochs(case, other, period_s)
    if other.workers or not case.plan.workers:
        return speedup(now, period_s)
    trial = case.workload.inline_batch_s
    if trial is not None and trial.value is not None:
        then = _step_alone_s(case) + trial.value
        # The trial itself is known within a few per cent. How much faster the step runs once no
        # worker shares its caches is not: steps of half a millisecond were seen to take 0.7 of
        # the time, longer ones no less than before.
        period_s = Estimate(value=then, low=0.65 * then, high=1.1 * then)
    batches = case.workload.batches_per_epoch
    if case.stats.epoch_s is None or not batches or case.plan.persistent:
        return speedup(now, period_s)
    whole_s = case.stats.epoch_s
    spread = now.spread
    epoch = Estimate(value=whole_s, low=whole_s * (1 - spread), high=whole_s * (1 + spread))
    return divide(epoch, scale(period_s, batches))


def _gain_of_epochs(case: Case, other: Plan, period_s: Estimate) -> Estimate:
    """The same where each epoch starts its workers: more of them take longer to start."""
    start, epoch_s = start_up_of(case), case.stats.epoch_s
    batches = case.workload.batches_per_epoch
    if start is None or epoch_s is None or not batches:
        return speedup(case.stats.period_s, period_s)
    now = scale(case.stats.period_s, batches)
    then = scale(period_s, batches)
    rest_s = max(0.0, epoch_s - now.value)
    more_s = rest_s + start.each_s * (other.workers - case.plan.workers)
    return divide(_later(now, rest_s), _later(then, max(0.0, more_s)))


def _later(estimate: Estimate, seconds: float) -> Estimate:
    return Estimate(
        value=estimate.value + seconds,
        low=estimate.low + seconds,
        high=estimate.high + seconds,
        n=estimate.n,
    )


def _step_alone_s(case: Case) -> float:
    """Seconds of the step when no worker competes with it for a core."""
    demand = demand_of(case)
    if demand is None:
        return case.stats.period_s.value * (1 - case.stats.wait_share.value)
    return float((demand.step_off_s + demand.step_cpu_s).mean())


def _persistent(case: Case) -> list[Forecast]:
    """Workers that stay, where epochs were seen to start them anew: over a whole epoch."""
    epoch_s, saved_s = case.stats.epoch_s, respawn_s(case)
    if epoch_s is None or not saved_s:
        return []
    kept = msgspec.structs.replace(case.plan, persistent=True)
    # Epochs are few: each is taken to be known within a twentieth.
    now = Estimate(value=epoch_s, low=0.95 * epoch_s, high=1.05 * epoch_s)
    then_s = max(1e-9, epoch_s - saved_s)
    then = Estimate(value=then_s, low=0.95 * then_s, high=1.05 * then_s)
    return [forecast_of(case, kept, divide(now, then))]


def forecast_of(case: Case, plan: Plan, gain: Estimate) -> Forecast:
    """The gain of a plan as a forecast: never more than the device leaves, with its memory."""
    if case.stats.device_stall_share is not None and not plan.persistent:
        # What the device never waited for cannot be won: the model knows the host's waits only.
        gain = _at_most(gain, ceiling(case))
    more = memory_use([case], plan).total_bytes - memory_use([case], case.plan).total_bytes
    return Forecast(plan=plan, gain=gain, memory_bytes=int(more))


def _at_most(gain: Estimate, most: Estimate) -> Estimate:
    return Estimate(
        value=min(gain.value, most.value),
        low=min(gain.low, most.low),
        high=min(gain.high, most.high),
        n=gain.n,
    )
