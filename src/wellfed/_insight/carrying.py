"""What a model misses, learned where plans were measured and carried over to plans that are near.

    measured / modelled, of some plans ──► a Gaussian process over their places ──► of any plan

A miss is taken to vary smoothly from plan to plan, so that a measured plan is predicted as
measured, one beside it nearly so, and one far away as by the model alone, with an interval that
widens on the way.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wellfed._insight.estimate import Floats
from wellfed._insight.pipeline import prefetch_of
from wellfed.records import Plan

__all__ = ["MODEL_ERROR", "RUN_ERROR", "Carried", "Missed", "carry", "likeness"]

# Standard deviation of the model's relative error where nothing near was measured, and how far a
# measured error carries, in doublings of the workers, of the prefetch factor and of the threads:
# from benchmarks/prediction.py, as that of its first rounds; that of threads is assumed.
MODEL_ERROR = 0.12
CARRIES_WORKERS = 1.0
CARRIES_PREFETCH = 2.0
CARRIES_THREADS = 2.0

# Two runs of one plan, seconds apart on a quiet machine, differ by about this beyond what their
# own batches vary by: the clock, the cache and the pages are not the same.
RUN_ERROR = 0.03

# Ways of making batches have the samples in common and little else. Our workers use their memory
# again, as a trainer that makes batches in place does, and torch's do not.
KINDS_ALIKE = 0.2
OURS_AND_IN_PLACE_ALIKE = 0.5


class Missed(NamedTuple):
    """A plan that was measured, beside what the model says of it."""

    plan: Plan
    log_ratio: float
    """Logarithm of measured over modelled seconds."""
    variance: float = RUN_ERROR**2
    """How far the measurement itself may be off."""


class Carried(NamedTuple):
    """What the model is expected to miss of a plan."""

    log_ratio: float
    variance: float


def carry(
    missed: Sequence[Missed], plans: Sequence[Plan], *, common_error: float = 0.0
) -> list[Carried]:
    """What the model is expected to miss of each plan.

    Args:
        missed: what it missed of those that were measured; none: nothing is known.
        plans: the plans to tell of.
        common_error: standard deviation of an error that all plans of one kind share, beside that
            of each; where the model rests on one run of another kind.
    """
    own, common = MODEL_ERROR**2, common_error**2
    if not missed:
        return [Carried(0.0, own + common) for _ in plans]
    places = [_place(one.plan) for one in missed]
    alike = np.array([[_covariance(one, two, common) for two in places] for one in places])
    inverse = np.linalg.inv(alike + np.diag([one.variance for one in missed]))
    ratios: Floats = np.array([one.log_ratio for one in missed])
    told = []
    for plan in plans:
        near = np.array([_covariance(_place(plan), one, common) for one in places])
        left = own + common - float(near @ inverse @ near)
        told.append(Carried(float(near @ inverse @ ratios), max(0.0, left)))
    return told


def likeness(one: Plan, other: Plan) -> float:
    """How much two plans have in common, 0 to 1."""
    return _likeness(_place(one), _place(other))


class _Place(NamedTuple):
    """Where a plan lies among others."""

    kind: str
    """ "in place", or who makes its batches."""
    workers: float = 0.0
    """As a power of two; so are the others."""
    prefetch: float = 0.0
    threads: float = 0.0


def _place(plan: Plan) -> _Place:
    if not plan.workers:
        return _Place("in place")
    sizes = (plan.workers, prefetch_of(plan), 1 + plan.threads)
    return _Place(plan.backend, *(float(np.log2(size)) for size in sizes))


def _covariance(one: _Place, other: _Place, common: float) -> float:
    shared = common if one.kind == other.kind else 0.0
    return MODEL_ERROR**2 * _likeness(one, other) + shared


def _likeness(one: _Place, other: _Place) -> float:
    if {one.kind, other.kind} == {"in place", "processes"}:
        return OURS_AND_IN_PLACE_ALIKE
    if one.kind != other.kind:
        return KINDS_ALIKE
    apart = ((one.workers - other.workers) / CARRIES_WORKERS) ** 2
    apart += ((one.prefetch - other.prefetch) / CARRIES_PREFETCH) ** 2
    apart += ((one.threads - other.threads) / CARRIES_THREADS) ** 2
    return KINDS_ALIKE + (1 - KINDS_ALIKE) * float(np.exp(-apart / 2))
