import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from insight_traces import case_of, trace_of

from wellfed._insight.startup import EpochCurve, epoch_curve_of, start_up_of
from wellfed.records import Case, Plan

positive = st.floats(0.001, 10.0)


@given(each_s=positive, fixed_s=positive, shared_s=positive, most=st.integers(1, 200))
def test_no_number_of_workers_is_better_than_the_best(
    each_s: float, fixed_s: float, shared_s: float, most: int
) -> None:
    curve = EpochCurve(each_s, fixed_s, shared_s)

    best = curve.best_workers(most)

    assert 1 <= best <= most
    assert all(curve.seconds(best) <= curve.seconds(w) * (1 + 1e-9) for w in range(1, most + 1))


def test_workers_that_start_for_nothing_are_as_many_as_there_may_be() -> None:
    assert EpochCurve(0.0, 1.0, 100.0).best_workers(most=8) == 8


def short_epochs(workers: int, starting_s: float) -> Case:
    """Two epochs of 30 batches, each of 80 ms of a worker and 5 ms of a step."""
    plan = Plan(workers=workers, prefetch=2)
    trace = trace_of(plan, [0.08] * 60, [0.005] * 60, epochs=2, startup_s=workers * starting_s)
    epochs = tuple(
        msgspec.structs.replace(epoch, start_ns=(round(starting_s * 1e9),) * workers)
        for epoch in trace.epochs
    )
    case = case_of(msgspec.structs.replace(trace, epochs=epochs), cores=64)
    workload = msgspec.structs.replace(case.workload, batches_per_epoch=30)
    return msgspec.structs.replace(case, workload=workload)


def test_short_epochs_repay_few_starts() -> None:
    # 2.4 s are shared out: sqrt(2.4 / 0.15) = 4.
    found = epoch_curve_of(short_epochs(8, 0.15))

    assert found is not None
    curve, most = found
    assert curve.best_workers(most) == 4


def test_no_more_workers_than_the_step_asks_for() -> None:
    found = epoch_curve_of(short_epochs(32, 0.0001))

    assert found is not None
    curve, most = found
    assert curve.best_workers(most) == pytest.approx(0.08 / 0.005, abs=2)


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
    assert epoch_curve_of(case_of(trace_of(Plan(), [0.08] * 60, [0.02] * 60))) is None
