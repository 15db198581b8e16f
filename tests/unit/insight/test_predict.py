import msgspec
import numpy as np
import pytest
from insight_traces import case_of, machine_of, trace_of

from wellfed._insight.cores import cores_of
from wellfed._insight.predict import predict_period, speedup, worker_curve
from wellfed._insight.supply import ceiling
from wellfed._insight.transports import Transport
from wellfed.records import Case, Estimate, Plan

INLINE = Plan(workers=0)
FREE = Transport(*([0.0] * 7))


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def workers(count: int, persistent: bool = False) -> Plan:
    return Plan(workers=count, prefetch=2, persistent=persistent)


def inline_case(service_s: float = 0.08, step_s: float = 0.02, **machine: float) -> Case:
    return case_of(trace_of(INLINE, [service_s] * 60, [step_s] * 60), **machine)


def test_the_plan_that_ran_is_not_predicted() -> None:
    case = inline_case()

    assert case.stats.period_s == predict_period(case, INLINE, rng())


def test_plans_that_differ_in_start_up_only_have_the_same_period() -> None:
    case = case_of(trace_of(workers(2), [0.08] * 60, [0.02] * 60))

    assert case.stats.period_s == predict_period(case, workers(2, persistent=True), rng())


def test_the_same_seed_gives_the_same_prediction() -> None:
    case = inline_case()

    first, second = (predict_period(case, workers(3), rng()) for _ in range(2))

    assert first == second


@pytest.mark.parametrize(("count", "period_s"), [(1, 0.08), (2, 0.04), (4, 0.02), (6, 0.02)])
def test_workers_share_the_fetch_until_the_step_is_left(count: int, period_s: float) -> None:
    seen = predict_period(inline_case(), workers(count), rng(), FREE)

    assert seen.value == pytest.approx(period_s, rel=0.03)
    assert seen.low < period_s < seen.high


@pytest.mark.parametrize("step_s", [0.002, 0.02, 0.05])
@pytest.mark.parametrize("measured", [1, 2, 4])
@pytest.mark.parametrize("asked", [0, 1, 3, 6])
def test_intervals_hold_the_truth_on_uneven_batches(
    measured: int, asked: int, step_s: float
) -> None:
    draws = np.random.default_rng(11)
    service_s = draws.lognormal(np.log(0.06), 0.4, 300)
    steps = np.full(300, step_s)
    case = case_of(trace_of(workers(measured), service_s, steps), cores=64)
    truth = case_of(trace_of(workers(asked) if asked else INLINE, service_s, steps), cores=64)

    seen = predict_period(case, truth.plan, rng(), FREE)

    assert seen.low <= truth.stats.period_s.value <= seen.high
    assert seen.spread < 0.35


def test_two_cores_cannot_do_the_work_of_four() -> None:
    seen = predict_period(inline_case(cores=2), workers(8), rng(), FREE)

    # 80 ms of loading and 20 ms of step, all CPU, on two cores.
    assert seen.value == pytest.approx(0.05, rel=0.05)


def test_cores_that_slow_each_other_down_do_less() -> None:
    # Measured by one busy core; with four busy ones each runs at half speed.
    seen = predict_period(inline_case(cores=4, efficiency=0.5), workers(8), rng(), FREE)

    assert seen.value == pytest.approx(0.05, rel=0.06)


def test_waiting_for_storage_needs_no_cores() -> None:
    trace = trace_of(INLINE, [0.08] * 60, [0.02] * 60, cpu_share=0.05)

    seen = predict_period(case_of(trace, cores=2), workers(8), rng(), FREE)

    assert seen.value == pytest.approx(0.02, rel=0.25)


def test_neighbours_leave_fewer_cores() -> None:
    case = inline_case(cores=4)
    gauges = {"neighbour_busy_cores": 2.0}
    crowded = msgspec.structs.replace(
        case, stats=msgspec.structs.replace(case.stats, gauges=gauges)
    )

    alone = predict_period(case, workers(8), rng(), FREE)
    beside = predict_period(crowded, workers(8), rng(), FREE)

    assert beside.value == pytest.approx(0.05, rel=0.05)
    assert alone.value < 0.6 * beside.value


def test_run_queue_time_is_taken_off_where_it_was_measured() -> None:
    # Four workers on two cores: half of each fetch was queueing, alone it takes 40 ms.
    trace = trace_of(workers(4), [0.08] * 60, [0.001] * 60, cpu_share=0.5, run_queue_ns=40_000_000)

    case = case_of(trace, cores=2)

    fewer = predict_period(case, INLINE, rng(), FREE)
    more = predict_period(case, workers(8), rng(), FREE)

    assert fewer.value == pytest.approx(0.041, rel=0.1)
    assert more.value == pytest.approx(0.020, rel=0.1)


def test_run_queue_time_that_was_read_now_and_again_counts_as_if_always() -> None:
    whole = trace_of(workers(4), [0.08] * 60, [0.001] * 60, cpu_share=0.5, run_queue_ns=40_000_000)
    sampled = msgspec.structs.replace(
        whole,
        spans=tuple(
            span if span.number % 5 == 0 else msgspec.structs.replace(span, run_queue_ns=-1)
            for span in whole.spans
        ),
    )

    always, now_and_again = (
        predict_period(case_of(trace, cores=2), workers(8), rng(), FREE)
        for trace in (whole, sampled)
    )

    assert now_and_again.value == pytest.approx(always.value, rel=1e-6)


def test_the_way_out_of_a_worker_costs() -> None:
    case = inline_case(service_s=0.001, step_s=0.001)
    heavy = Transport(*([0.0] * 7))._replace(trainer_per_tensor_s=0.010)

    seen = predict_period(case, workers(1), rng(), heavy)

    assert seen.value > 2 * case.stats.period_s.value


def test_our_engine_spares_the_way_out() -> None:
    case = case_of(
        trace_of(workers(2), [0.004] * 60, [0.0001] * 60, receive_ns=6_000_000, tensors=12)
    )
    ours = msgspec.structs.replace(workers(2), backend="processes")

    seen = predict_period(case, ours, rng())

    assert seen.value == pytest.approx(0.002, rel=0.25)
    assert case.stats.period_s.value > 2 * seen.value


def test_the_step_s_own_cpu_time_is_no_less_where_workers_crowd_it() -> None:
    # The trainer computed for half of its step and queued for the rest, as its workers did.
    trace = trace_of(
        workers(4),
        [0.08] * 60,
        [0.02] * 60,
        cpu_share=0.5,
        step_cores=0.5,
        run_queue_ns=40_000_000,
    )

    seen = predict_period(case_of(trace, cores=64), workers(64), rng(), FREE)

    assert seen.value == pytest.approx(0.01, rel=0.1)


def test_going_back_to_no_workers_takes_the_way_out_away() -> None:
    trace = trace_of(
        workers(1), [0.01] * 60, [0.001] * 60, serialise_ns=20_000_000, receive_ns=20_000_000
    )

    seen = predict_period(case_of(trace, cores=8), INLINE, rng())

    assert seen.value < 0.03


def test_a_curve_of_equal_luck_never_rises_while_cores_are_free() -> None:
    draws = np.random.default_rng(2)
    trace = trace_of(INLINE, draws.lognormal(-3, 0.5, 100), [0.005] * 100)

    curve = worker_curve(case_of(trace, cores=64), range(1, 8), rng(), FREE)

    periods = [period.value for _, period in curve]
    assert sorted(periods, reverse=True) == periods


def test_a_run_whose_fetches_were_not_seen_predicts_nothing() -> None:
    trace = trace_of(workers(2), [0.08] * 60, [0.02] * 60)
    blind = [msgspec.structs.replace(s, taken_ns=-1, fetch_ns=0) for s in trace.spans]
    case = case_of(msgspec.structs.replace(trace, spans=tuple(blind)))

    seen = predict_period(case, workers(8), rng())

    assert case.stats.period_s.value == seen.value
    assert seen.spread > 0.5


def test_the_ceiling_is_period_over_step() -> None:
    seen = ceiling(inline_case())

    assert seen.value == pytest.approx(5.0)
    assert seen.spread < 1e-9


def test_a_loop_that_only_waits_has_a_finite_ceiling() -> None:
    assert ceiling(inline_case(step_s=0.0)).high <= 1000


def test_speed_up_is_old_period_over_new() -> None:
    def exactly(value: float) -> Estimate:
        return Estimate(value=value, low=value, high=value)

    assert exactly(2.0) == speedup(exactly(0.2), exactly(0.1))


def test_cores_slow_down_in_a_straight_line() -> None:
    cores = cores_of(machine_of(5, 0.6))

    assert [pytest.approx(cores.speed(busy)) for busy in (0, 1, 3, 5, 9)] == [
        1.0,
        1.0,
        0.8,
        0.6,
        0.6,
    ]


def test_work_is_conserved() -> None:
    assert cores_of(machine_of(4, 0.8)).least_period_s(1.0) == pytest.approx(1 / 3.2)


def test_crowding_can_cost_more_than_the_last_core_brings() -> None:
    # busy * speed(busy) on the line from 1 to 0.3 peaks near 2.6 of 4 cores, at 1.6 cores' work.
    assert cores_of(machine_of(4, 0.3)).least_period_s(1.0) == pytest.approx(1 / 1.631, rel=1e-3)


def test_neighbours_explain_their_share_of_lost_speed_once() -> None:
    cores = cores_of(machine_of(4, 0.5), neighbour_busy_cores=2)

    assert (cores.usable, cores.efficiency) == (2.0, 1.0)


def test_an_unread_machine_limits_nothing() -> None:
    unread = machine_of(4, 1.0)
    unread = msgspec.structs.replace(unread, cpus_usable=unread.cpus_host)

    cores = cores_of(unread)

    assert (cores.speed(64), cores.least_period_s(1.0)) == (1.0, 0.0)


@pytest.mark.parametrize(("cpu_share", "faster"), [(0.0, 8.0), (0.5, 2.0), (1.0, 1.0)])
def test_threads_wait_side_by_side_and_compute_in_turn(cpu_share: float, faster: float) -> None:
    trace = trace_of(Plan(workers=1, prefetch=8), [0.08] * 100, [0.0001] * 100, cpu_share=cpu_share)
    case = case_of(trace, cores=8)
    plan = Plan(backend="processes", workers=1, prefetch=8)

    alone, threaded = (
        predict_period(
            case, msgspec.structs.replace(plan, threads=threads), np.random.default_rng(0)
        )
        for threads in (0, 8)
    )

    assert alone.value / threaded.value == pytest.approx(faster, rel=0.1)


def test_what_the_plan_that_ran_has_shown_the_cores_can_do() -> None:
    # Two workers that compute side by side, on a machine that is thought to have one core.
    case = case_of(trace_of(workers(2), [0.08] * 100, [0.001] * 100), cores=1)

    deeper = predict_period(case, msgspec.structs.replace(workers(2), prefetch=8), rng())

    assert case.stats.period_s.value == pytest.approx(0.04, rel=0.05)
    assert deeper.value < 0.06
