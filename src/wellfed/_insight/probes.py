"""What another plan would give, learned from several measured ones.

    measured runs ──► the model of each ──► blended: the nearest run says most
          └─────────► what it misses there ──► carried over to plans that are near

A single run knows the demand of its own plan; how collating, page faults or sharing caches change
with the number of workers it can only assume. A second run shows it. What the model misses is
taken to vary smoothly from plan to plan (a Gaussian process over the logarithm of the period), so
that a measured plan is predicted as measured, one beside it nearly so, and one far away as by the
model alone, with an interval that widens on the way.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wellfed._insight.estimate import Floats
from wellfed._insight.pipeline import prefetch_of
from wellfed._insight.predict import Model, model_of
from wellfed._insight.storage import StorageCurve, read_at_once, storage_curve
from wellfed.records import Case, Estimate, Plan

__all__ = ["predict_from"]

# Standard deviation of the model's relative error where nothing near was measured, and how far a
# measured error carries, in doublings of the workers and of the prefetch factor: from
# benchmarks/prediction.py, as that of its first rounds.
MODEL_ERROR = 0.12
CARRIES_WORKERS = 1.0
CARRIES_PREFETCH = 2.0

# Ways of making batches have the samples in common and little else. Our workers use their memory
# again, as a trainer that makes batches in place does, and torch's do not.
KINDS_ALIKE = 0.2
OURS_AND_IN_PLACE_ALIKE = 0.5

# Two runs of one plan, seconds apart on a quiet machine, differ by about this beyond what their
# own batches vary by: the clock, the cache and the pages are not the same.
RUN_ERROR = 0.03


class _Place(NamedTuple):
    """Where a plan lies among others."""

    kind: str
    """ "in place", or who makes its batches."""
    workers: float = 0.0
    """As a power of two."""
    prefetch: float = 0.0

    def likeness(self, other: "_Place") -> float:
        """How much two plans have in common, 0 to 1."""
        if {self.kind, other.kind} == {"in place", "processes"}:
            return OURS_AND_IN_PLACE_ALIKE
        if self.kind != other.kind:
            return KINDS_ALIKE
        apart = ((self.workers - other.workers) / CARRIES_WORKERS) ** 2
        apart += ((self.prefetch - other.prefetch) / CARRIES_PREFETCH) ** 2
        return KINDS_ALIKE + (1 - KINDS_ALIKE) * float(np.exp(-apart / 2))


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
    places = [_place(case.plan) for case in cases]
    measured = np.log([case.stats.period_s.value for case in cases])
    noise = np.array([RUN_ERROR**2 + (case.stats.period_s.spread / 1.645) ** 2 for case in cases])
    missed = measured - np.array([_blend(models, case.plan, curve)[0] for case in cases])
    alike = MODEL_ERROR**2 * np.array([[one.likeness(two) for two in places] for one in places])
    inverse = np.linalg.inv(alike + np.diag(noise))
    told = []
    for plan in plans:
        center, spread = _blend(models, plan, curve)
        near = MODEL_ERROR**2 * np.array([_place(plan).likeness(one) for one in places])
        carried = float(near @ inverse @ missed)
        left = max(0.0, MODEL_ERROR**2 - float(near @ inverse @ near))
        told.append(_estimate(center + carried, left + RUN_ERROR**2 + spread**2))
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
    place = _place(plan)
    # To the fourth: a run of the same kind counts for much more than one of another.
    weights: Floats = np.array([place.likeness(_place(case.plan)) ** 4 for case, _ in models])
    weights /= weights.sum()
    least_s = curve.least_period_s if curve is not None else 0.0
    periods = np.log(np.maximum(least_s, [model.periods_s(plan) for _, model in models]))
    # Independent runs: their errors add in quadrature.
    spread = float(np.sqrt(weights**2 @ periods.std(axis=1, ddof=1) ** 2))
    return float(weights @ periods.mean(axis=1)), spread


def _place(plan: Plan) -> _Place:
    if not plan.workers:
        return _Place("in place")
    return _Place(plan.backend, float(np.log2(plan.workers)), float(np.log2(prefetch_of(plan))))
