"""What a model misses on measured plans is believed of others the more, the nearer they are."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellfed._insight.carrying import MODEL_ERROR, Missed, carry, likeness
from wellfed.records import Plan

MISS = 0.3


def plan(workers: int, prefetch: int = 2, *, threads: int = 0, backend: str = "torch") -> Plan:
    depth = prefetch if workers else None
    return Plan(backend=backend, workers=workers, prefetch=depth, threads=threads)


plans = st.builds(
    plan,
    st.integers(0, 32),
    st.sampled_from((1, 2, 4, 8)),
    threads=st.sampled_from((0, 8, 128)),
    backend=st.sampled_from(("torch", "processes")),
)


def test_without_measurements_the_model_stands_as_it_is() -> None:
    (told,) = carry([], [plan(4)])

    assert told.log_ratio == 0
    assert told.variance == pytest.approx(MODEL_ERROR**2)


def test_a_measured_plan_is_believed_nearly_as_measured() -> None:
    (told,) = carry([Missed(plan(4), MISS)], [plan(4)])

    assert told.log_ratio == pytest.approx(MISS, rel=0.1)


def test_less_is_believed_of_a_plan_the_farther_it_is() -> None:
    distances = [plan(4), plan(5), plan(8), plan(16), plan(4, backend="processes")]

    told = carry([Missed(plan(4), MISS)], distances)

    assert all(near.log_ratio > far.log_ratio > 0 for near, far in pairwise(told))
    assert all(near.variance < far.variance for near, far in pairwise(told))


def test_threads_set_plans_apart() -> None:
    few, many = carry([Missed(plan(2), MISS)], [plan(2, threads=2), plan(2, threads=128)])

    assert few.log_ratio > many.log_ratio


def test_a_common_error_is_believed_of_all_plans_of_the_kind_and_of_no_other() -> None:
    missed = [Missed(plan(1), MISS)]

    far, other = carry(missed, [plan(32, 8), plan(0)], common_error=MISS)

    assert far.log_ratio == pytest.approx(MISS, rel=0.15)
    assert abs(other.log_ratio) < 0.02


@given(measured=st.lists(plans, max_size=6, unique=True), asked=plans)
def test_measuring_makes_nothing_less_sure(measured: list[Plan], asked: Plan) -> None:
    missed = [Missed(one, MISS) for one in measured]

    (before,), (after,) = carry(missed[:-1], [asked]), carry(missed, [asked])

    assert 0 <= after.variance <= before.variance + 1e-9


@given(one=plans, other=plans)
def test_likeness_is_mutual_and_whole_with_itself(one: Plan, other: Plan) -> None:
    assert likeness(one, other) == likeness(other, one)
    assert 0 < likeness(one, other) <= likeness(one, one) == 1
