"""What another plan would give: the measured batches, played again under its rules.

Three steps: the run is fitted (`pipeline`), its batches are resampled and delivered by torch's
rules under the plan (`protocol`), and the result is corrected by how well the same model
explains the plan that really ran. The plan that ran is never predicted: it was measured.

The generator is an argument; the same seed gives the same prediction.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from wellfed._insight.estimate import divide, widen
from wellfed._insight.pipeline import Demand, demand_of, play, prefetch_of
from wellfed._insight.transports import TORCH, Transport
from wellfed.records import Case, Estimate, Plan, StageStats

__all__ = [
    "Model",
    "model_of",
    "predict_period",
    "speedup",
    "worker_curve",
]

# Resamples of the run. The half-width of the interval is then itself uncertain by 1/sqrt(2*15),
# 18 %, which is small beside the model's own error.
RESAMPLES = 16

# Batches played per resample beyond the filling of the pipeline: over all resamples 3,072, so
# that at cv 0.5 the simulation itself is right within 1 %.
PLAYED = 192

# Relative error of the model between plans, beside what it shows on the plan that ran. The
# demonstration's predictions (0 workers to 2, on a shared machine of two cores whose own speed
# drifts by some per cent between runs) missed by 3 to 12 %; between plans that both have workers
# the way out of a worker is measured, and less is left to assume.
BASE_ERROR = 0.07
FIRST_WORKERS_ERROR = 0.13

# The plan that ran may explain a factor of two at most; beyond that the model has missed
# something, and scaling by it would spread the miss to all plans.
_MOST_CORRECTION = 2.0

# A wait below this share of the period is too small to learn a factor from.
_SMALL_WAIT_SHARE = 0.05


class Model(NamedTuple):
    """A run as fitted: all that predictions from it share, so that plans meet the same luck."""

    demand: Demand
    places: NDArray[np.int64]
    """Resamples × batches: which measured batch stands at each place."""

    def played(self, plan: Plan) -> list[tuple[float, float]]:
        """Mean period and mean wait under a plan, in seconds, of each resample."""
        return [_played(self.demand, plan, row) for row in self.places]

    def periods_s(self, plan: Plan) -> list[float]:
        """Mean seconds from one batch to the next under a plan, of each resample."""
        least_s = _least_period_s(self.demand, plan)
        return [max(least_s, period_s) for period_s, _ in self.played(plan)]


class _Fit(NamedTuple):
    """A model and how well it explains the plan that ran."""

    model: Model
    correction: float
    """Measured wait over modelled wait on the plan that ran."""
    error: float
    """Relative error of the uncorrected model on the plan that ran, 0 to 1."""
    bound: float
    """What the cores' limit is multiplied by: the plan that ran has shown how much they do."""


def model_of(
    case: Case,
    rng: np.random.Generator,
    transport: Transport = TORCH,
    resamples: int = RESAMPLES,
) -> Model | None:
    """The model fitted to a run; None if no fetch was seen."""
    demand = demand_of(case, transport)
    if demand is None:
        return None
    return Model(demand, _resampled(demand.fetch_off_s.size, resamples, rng))


def predict_period(
    case: Case, plan: Plan, rng: np.random.Generator, transport: Transport = TORCH
) -> Estimate:
    """Seconds from one batch to the next under a plan, with a 90 % interval.

    The interval holds the spread of the measured batches (block bootstrap) and the model's own
    error: what it misses on the plan that ran, and `BASE_ERROR` for the way to another.

    Args:
        case: the run to learn from. Where it saw no fetch, its own period is returned, with an
            interval that says nothing but that data cannot cost less than nothing.
        plan: the plan to predict.
        rng: a seeded generator.
        transport: costs of the way between processes, if the run had no workers to measure it.
    """
    fit = _fit(case, rng, transport)
    return _predict(case, plan, fit) if fit else _unknown(case.stats)


def worker_curve(
    case: Case, counts: Sequence[int], rng: np.random.Generator, transport: Transport = TORCH
) -> list[tuple[Plan, Estimate]]:
    """The period for each number of workers, everything else as it is.

    All plans see the same resamples, so differences between them are not luck.
    """
    fit = _fit(case, rng, transport)
    plans = [_with_workers(case.plan, count) for count in counts]
    return [(plan, _predict(case, plan, fit) if fit else _unknown(case.stats)) for plan in plans]


def speedup(now: Estimate, then: Estimate) -> Estimate:
    """New speed over old, from the periods: 2.0 is twice as fast, 1.0 no change."""
    return divide(now, then)


def _fit(case: Case, rng: np.random.Generator, transport: Transport) -> _Fit | None:
    model = model_of(case, rng, transport)
    if model is None:
        return None
    measured_s = case.stats.period_s.value
    period_s, wait_s = np.mean(model.played(case.plan), axis=0)
    # A floor under both, so that two tiny waits have a ratio near 1.
    floor_s = _SMALL_WAIT_SHARE * measured_s
    # The sampler runs inside the wait, and the model keeps it with the step: both hold the trainer.
    sampler_s = case.stats.stages["sampler"].wall_s.value
    measured_wait_s = max(0.0, case.stats.wait_share.value * measured_s - sampler_s)
    correction = (measured_wait_s + floor_s) / (float(wait_s) + floor_s)
    return _Fit(
        model=model,
        correction=min(_MOST_CORRECTION, max(1 / _MOST_CORRECTION, correction)),
        error=min(1.0, abs(float(period_s) / measured_s - 1)),
        bound=min(1.0, measured_s / _least_period_s(model.demand, case.plan)),
    )


def _predict(case: Case, plan: Plan, fit: _Fit) -> Estimate:
    if _alike(plan, case.plan):
        return case.stats.period_s
    demand = fit.model.demand
    least_s = fit.bound * _least_period_s(demand, plan)
    # The step was measured; only the wait is the model's, so only the wait is corrected.
    periods = [max(least_s, p - w + w * fit.correction) for p, w in fit.model.played(plan)]
    value = float(np.mean(periods))
    half = 1.645 * float(np.std(periods, ddof=1))
    sampled = Estimate(value=value, low=max(0.0, value - half), high=value + half)
    base = FIRST_WORKERS_ERROR if plan.workers and not case.plan.workers else BASE_ERROR
    return widen(widen(sampled, base), fit.error)


def _least_period_s(demand: Demand, plan: Plan) -> float:
    """Seconds from one batch to the next that the cores allow, whatever the order of the work."""
    return max(1e-9, demand.cores.least_period_s(demand.work_s(plan)))


def _played(demand: Demand, plan: Plan, row: NDArray[np.int64]) -> tuple[float, float]:
    """Mean period and mean wait, in seconds, once the pipeline is full."""
    filling = plan.workers * prefetch_of(plan) + plan.workers
    delivery = play(demand, plan, np.resize(row, filling + PLAYED))
    return float(delivery.period_s[filling:].mean()), float(delivery.wait_s[filling + 1 :].mean())


def _resampled(size: int, resamples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Circular block bootstrap: rows of places, in blocks of about sqrt(size) neighbours.

    A row has as many places as the run had batches, because that is what the run knows; playing
    it several times over adds batches but no knowledge. Politis and Romano 1992.
    """
    block = max(1, round(size**0.5))
    starts = rng.integers(0, size, (resamples, -(-size // block)))
    rows = (starts[:, :, None] + np.arange(block)) % size
    return rows.reshape(resamples, -1)[:, :size]


def _alike(one: Plan, other: Plan) -> bool:
    """Whether the model sees no difference: what is left only matters for start-up."""

    def seen(plan: Plan) -> tuple[object, ...]:
        if not plan.workers:
            return (0, plan.pin_memory)
        engine = plan.backend == "processes"
        return (engine, plan.workers, prefetch_of(plan), plan.pin_memory, plan.in_order)

    return seen(one) == seen(other)


def _with_workers(plan: Plan, workers: int) -> Plan:
    backend = plan.backend
    if backend != "torch":
        backend = "processes" if workers else "inline"
    return msgspec.structs.replace(
        plan,
        backend=backend,
        workers=workers,
        prefetch=prefetch_of(plan) if workers else None,
        persistent=plan.persistent and workers > 0,
    )


def _unknown(stats: StageStats) -> Estimate:
    period_s = stats.period_s
    step_s = stats.stages["step"].wall_s.value
    return Estimate(value=period_s.value, low=min(step_s, period_s.low), high=2 * period_s.high)
