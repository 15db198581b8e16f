"""What another plan would give, learned from several measured ones.

    measured runs ──► the model of each ──► blended: the nearest run says most
          └─────────► what it misses there ──► carried over to plans that are near

A single run knows the demand of its own plan; how collating, page faults or sharing caches change
with the number of workers it can only assume. A second run shows it.
"""

from collections.abc import Sequence

import numpy as np

from wellfed._insight.carrying import RUN_ERROR, Missed, carry, likeness
from wellfed._insight.estimate import Floats
from wellfed._insight.predict import Model, model_of
from wellfed._insight.storage import StorageCurve, read_at_once, storage_curve
from wellfed.records import Case, Estimate, Plan

__all__ = ["predict_from"]


def predict_from(
    cases: Sequence[Case], plans: Sequence[Plan], rng: np.random.Generator
) -> list[Estimate]:
    """Seconds from one batch to the next under each plan, with a 90 % interval.

    Args:
        cases: what was measured of the same job and step; one at least. Cases whose fetches were
            not seen say what their own plan gives, and nothing of the demand.
        plans: what to predict. One that was measured is predicted near to what was measured: it
            is a measurement with an error.
        rng: a seeded generator.

    Raises:
        ValueError: no case saw its fetches.
    """
    curve = storage_curve([seen for case in cases if (seen := read_at_once(case)) is not None])
    models = [
        (case, _relieved(model, curve))
        for case in cases
        if (model := model_of(case, rng)) is not None
    ]
    if not models:
        raise ValueError("no run saw its fetches: nothing can be said of other plans")
    missed = [
        Missed(
            case.plan,
            float(np.log(case.stats.period_s.value)) - _blend(models, case.plan, curve)[0],
            RUN_ERROR**2 + (case.stats.period_s.spread / 1.645) ** 2,
        )
        for case in cases
    ]
    told = []
    for plan, miss in zip(plans, carry(missed, plans), strict=True):
        center, spread = _blend(models, plan, curve)
        told.append(_estimate(center + miss.log_ratio, miss.variance + RUN_ERROR**2 + spread**2))
    return told


def _estimate(log_s: float, variance: float) -> Estimate:
    half = 1.645 * variance**0.5
    ends = np.exp([log_s, log_s - half, log_s + half])
    return Estimate(value=float(ends[0]), low=float(ends[1]), high=float(ends[2]))


def _relieved(model: Model, curve: StorageCurve | None) -> Model:
    """The model of a run, without what other readers at the store cost it."""
    off_s = model.demand.fetch_off_s
    if curve is None or not curve.least_period_s or not off_s.sum():
        return model
    relief = min(1.0, curve.alone_s / float(off_s.mean()))
    return model._replace(demand=model.demand._replace(fetch_off_s=off_s * relief))


def _blend(
    models: Sequence[tuple[Case, Model]], plan: Plan, curve: StorageCurve | None
) -> tuple[float, float]:
    """Logarithm of the period by all models, the nearest first; and the spread of resampling."""
    # To the fourth: a run of the same kind counts for much more than one of another.
    weights: Floats = np.array([likeness(plan, case.plan) ** 4 for case, _ in models])
    weights /= weights.sum()
    least_s = curve.least_period_s if curve is not None else 0.0
    periods = np.log(np.maximum(least_s, [model.periods_s(plan) for _, model in models]))
    # Independent runs: their errors add in quadrature.
    spread = float(np.sqrt(weights**2 @ periods.std(axis=1, ddof=1) ** 2))
    return float(weights @ periods.mean(axis=1)), spread
