import msgspec
import numpy as np
import pytest
from insight_traces import case_of, trace_of

from wellfed._insight.probes import predict_from
from wellfed.records import Case, Estimate, Plan


def plan(workers: int, prefetch: int = 2) -> Plan:
    return Plan(workers=workers, prefetch=prefetch if workers else None)


def ran(workers: int, prefetch: int = 2, *, service_s: float = 0.08, cpu_share: float = 1) -> Case:
    services = np.random.default_rng(workers).lognormal(np.log(service_s), 0.1, 200)
    steps = [0.001] * 200
    trace = trace_of(plan(workers, prefetch), services, steps, cpu_share=cpu_share)
    return case_of(trace, cores=64)


def foreseen(cases: list[Case], *plans: Plan) -> list[Estimate]:
    return predict_from(cases, plans, np.random.default_rng(3))


def test_a_measured_plan_is_predicted_nearly_as_measured() -> None:
    cases = [ran(1), ran(4), ran(8, service_s=0.12)]

    for case, seen in zip(cases, foreseen(cases, *(case.plan for case in cases)), strict=True):
        assert seen.value == pytest.approx(case.stats.period_s.value, rel=0.08)


def test_between_measured_plans_lies_what_the_workers_share() -> None:
    (seen,) = foreseen([ran(1), ran(2), ran(6)], plan(3))

    assert seen.value == pytest.approx(0.08 / 3, rel=0.06)
    assert seen.low < 0.08 / 3 < seen.high


def test_what_the_model_misses_carries_to_plans_that_are_near() -> None:
    # With eight workers each fetch takes half as long again, and nothing tells the model why.
    cases = [ran(1), ran(2), ran(8, service_s=0.12)]

    near, far = foreseen(cases, plan(7), plan(2))

    assert near.value == pytest.approx(0.12 / 7, rel=0.1)
    assert far.value == pytest.approx(0.08 / 2, rel=0.06)


def test_intervals_widen_with_distance() -> None:
    beside, far = foreseen([ran(1), ran(2)], plan(2, 3), plan(16, 8))

    assert beside.spread < far.spread


def test_more_runs_never_make_a_measured_plan_less_sure() -> None:
    (few,), (many,) = (foreseen(cases, plan(4)) for cases in ([ran(1)], [ran(1), ran(4), ran(8)]))

    assert many.spread < few.spread


def test_a_store_at_its_limit_is_the_floor_of_every_plan() -> None:
    # Forty batches a second are all there is: eight readers wait twice as long as four.
    cases = [
        ran(1, service_s=0.1, cpu_share=0.0),
        ran(8, service_s=0.2, cpu_share=0.0),
    ]

    four, sixteen = foreseen(cases, plan(4), plan(16))

    assert four.value == pytest.approx(1 / 40, rel=0.1)
    assert sixteen.value == pytest.approx(1 / 40, rel=0.1)


def test_runs_without_fetches_alone_say_nothing() -> None:
    case = ran(2)
    blind = [msgspec.structs.replace(one, taken_ns=-1, fetch_ns=0) for one in case.trace.spans]
    case = case_of(msgspec.structs.replace(case.trace, spans=tuple(blind)))

    with pytest.raises(ValueError, match="fetches"):
        foreseen([case], plan(4))
