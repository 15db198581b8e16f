import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from insight_traces import case_of, trace_of

from wellfed._insight.startup import (
    EpochCurve,
    StartUp,
    break_even_epochs,
    fit_epochs,
    start_up_of,
)
from wellfed.records import Plan

positive = st.floats(0.001, 10.0)


@given(each_s=positive, fixed_s=positive, shared_s=positive)
def test_the_fit_gives_back_the_curve_that_made_the_points(
    each_s: float, fixed_s: float, shared_s: float
) -> None:
    truth = EpochCurve(each_s, fixed_s, shared_s)

    fitted = fit_epochs([(workers, truth.seconds(workers)) for workers in (1, 2, 4, 8, 16)])

    for workers in (1, 3, 12):
        assert fitted.seconds(workers) == pytest.approx(truth.seconds(workers), rel=1e-3)


@given(each_s=positive, fixed_s=positive, shared_s=positive, epochs=st.integers(1, 50))
def test_no_number_of_workers_is_better_than_the_best(
    each_s: float, fixed_s: float, shared_s: float, epochs: int
) -> None:
    curve = EpochCurve(each_s / epochs, fixed_s, shared_s)

    best = EpochCurve(each_s, fixed_s, shared_s).best_workers(epochs)

    assert all(curve.seconds(best) <= curve.seconds(w) * (1 + 1e-9) for w in range(1, 200))


def test_a_part_that_would_be_negative_is_left_out() -> None:
    fitted = fit_epochs([(1, 10.0), (2, 5.1), (4, 2.4), (8, 1.25)])

    assert min(fitted) >= 0
    assert fitted.seconds(4) == pytest.approx(2.5, rel=0.05)


def test_three_numbers_of_workers_are_needed() -> None:
    with pytest.raises(ValueError, match="three"):
        fit_epochs([(1, 1.0), (2, 0.5), (2, 0.5)])


def test_a_limit_of_cores_bounds_the_best() -> None:
    assert EpochCurve(0.01, 1.0, 100.0).best_workers(most=8) == 8
    assert EpochCurve(0.0, 1.0, 100.0).best_workers(most=8) == 8


def test_what_saves_a_second_an_epoch_earns_a_start_of_two_in_two_epochs() -> None:
    start = StartUp(each_s=0.4, fixed_s=0.4)

    assert break_even_epochs(start, lambda w: 8.0 / w, 2, 4) == pytest.approx(1.0)
    assert break_even_epochs(start, lambda w: 8.0, 2, 4) == math.inf


def test_the_start_is_read_without_the_first_batch() -> None:

    plan = Plan(workers=2, prefetch=2)
    trace = trace_of(plan, [0.08] * 60, [0.02] * 60, epochs=2, startup_s=0.5)
    epochs = tuple(
        msgspec.structs.replace(epoch, start_ns=(100_000_000, 150_000_000))
        for epoch in trace.epochs
    )

    start = start_up_of(case_of(msgspec.structs.replace(trace, epochs=epochs)))

    assert start is not None
    assert start.each_s == pytest.approx(0.125)
    assert start.seconds(2) == pytest.approx(0.5)
    assert start.seconds(0) == 0


def test_a_run_without_workers_shows_no_start() -> None:
    assert start_up_of(case_of(trace_of(Plan(), [0.08] * 60, [0.02] * 60))) is None
