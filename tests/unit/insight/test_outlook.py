import msgspec
import numpy as np
import pytest
from insight_traces import case_of, trace_of

from wellfed._insight.knobs import knobs
from wellfed._insight.outlook import forecasts
from wellfed.records import Case, Fact, Forecast, Plan

BATCH_BYTES = 50_000_000


def one_worker(**facts: float) -> Case:
    plan = Plan(workers=1, prefetch=2, start_method="fork")
    trace = trace_of(plan, [0.08] * 60, [0.01] * 60, payload_bytes=BATCH_BYTES, tensors=1)
    case = case_of(trace, cores=16)
    machine = msgspec.structs.replace(
        case.machine, **{name: Fact(value=value, how="test") for name, value in facts.items()}
    )
    return msgspec.structs.replace(case, machine=machine)


def told(case: Case) -> tuple[Forecast, ...]:
    return forecasts(case, np.random.default_rng(0))


def test_plans_that_would_not_fit_are_not_told() -> None:
    all_of_them = {one.plan.workers for one in told(one_worker())}
    within = {one.plan.workers for one in told(one_worker(shm_free_bytes=500_000_000))}

    assert 8 in all_of_them
    # Four fifths of 500 MB hold 8 batches: 3 workers, by two and one with the trainer.
    assert within == {0, 2, 3}


def test_more_workers_are_told_with_their_memory() -> None:
    four = next(one for one in told(one_worker()) if one.plan.workers == 4)

    # 3 workers with the batch they make, and 6 batches made ahead.
    assert four.memory_bytes == pytest.approx(3 * 60e6 + 6 * BATCH_BYTES, rel=0.01)


def test_a_setting_that_takes_much_memory_says_so() -> None:
    case = one_worker()
    case = msgspec.structs.replace(case, forecasts=told(case))

    assert "; RAM +" in knobs(case)[0].sentence


def test_more_workers_gain_less_where_each_epoch_starts_them() -> None:
    plan = Plan(workers=1, prefetch=2, start_method="fork")
    trace = trace_of(plan, [0.08] * 60, [0.001] * 60, epochs=4, startup_s=1.0)
    started = tuple(
        msgspec.structs.replace(epoch, start_ns=(900_000_000,)) for epoch in trace.epochs
    )
    case = case_of(msgspec.structs.replace(trace, epochs=started), cores=16)
    workload = msgspec.structs.replace(case.workload, batches_per_epoch=60)
    anew = msgspec.structs.replace(case, workload=workload)

    steady, whole = (
        next(one.gain.value for one in told(one) if one.plan.workers == 4) for one in (case, anew)
    )

    assert steady == pytest.approx(4, rel=0.1)
    # An epoch of 5.8 s becomes 1.2 s of batches, and 3.7 s of starting.
    assert whole == pytest.approx(5.8 / 4.9, rel=0.1)
