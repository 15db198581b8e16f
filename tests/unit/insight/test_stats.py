import msgspec
import numpy as np
import pytest
from insight_traces import MS, trace_of

from wellfed._insight.stats import summarise
from wellfed._insight.steady import find_steady
from wellfed.records import Gauge, Plan, Span, StageStats, Trace

TWO = Plan(workers=2, prefetch=2)
INLINE = Plan(workers=0)


def stats_of(trace: Trace) -> StageStats:
    stats = summarise(trace)
    assert stats is not None
    return stats


def with_spans(trace: Trace, **changes: dict[int, int]) -> Trace:
    """The trace with fields changed at some places, e.g. `read_bytes={0: 10}`."""
    spans = list(trace.spans)
    for field, values in changes.items():
        for place, value in values.items():
            spans[place] = msgspec.structs.replace(spans[place], **{field: value})
    return msgspec.structs.replace(trace, spans=tuple(spans))


def test_a_trace_without_two_batches_in_a_row_says_nothing() -> None:
    assert summarise(Trace(plan=INLINE)) is None
    assert summarise(trace_of(INLINE, [0.1], [0.1], epochs=5)) is None


def test_a_period_is_a_step_and_the_wait_after_it() -> None:
    stats = stats_of(trace_of(INLINE, [0.03] * 40, [0.01] * 40))

    assert stats.period_s.value == pytest.approx(0.04)
    assert stats.wait_share.value == pytest.approx(0.75)
    assert stats.stages["step"].wall_s.value == pytest.approx(0.01)
    assert stats.stages["wait"].wall_s.value == pytest.approx(0.03)
    assert stats.batches == 39


def test_the_filling_of_the_pipeline_is_left_out() -> None:
    stats = stats_of(trace_of(TWO, [0.03] * 60, [0.01] * 60))

    assert stats.warmup == 6  # 2 workers * 2 batches + 2
    assert stats.batches == 54
    assert stats.period_s.value == pytest.approx(0.015)


def test_epochs_shorter_than_the_pipeline_keep_what_they_have() -> None:
    deep = Plan(workers=4, prefetch=8)

    steady = find_steady(trace_of(deep, [0.03] * 12, [0.01] * 12, epochs=6))

    assert len(steady.spans) == 8 * 6
    assert {4} == {span.number for span in steady.spans if span.number < 5}


def test_the_first_batch_of_an_epoch_is_never_steady() -> None:
    steady = find_steady(trace_of(INLINE, [0.03] * 3, [0.01] * 3, epochs=2))

    assert [span.number for span in steady.spans] == [1, 2, 1, 2]


def test_persistent_workers_used_again_leave_out_one_batch_a_worker() -> None:
    trace = trace_of(TWO, [0.03] * 40, [0.01] * 40, epochs=2)
    again = msgspec.structs.replace(trace.epochs[1], started_workers=0)
    trace = msgspec.structs.replace(trace, epochs=(trace.epochs[0], again))

    steady = find_steady(trace)

    assert min(span.number for span in steady.spans if span.epoch == 1) == 2


def test_dropped_spans_do_not_shift_the_warm_up() -> None:
    trace = trace_of(TWO, [0.03] * 60, [0.01] * 60)
    late = msgspec.structs.replace(trace, spans=trace.spans[30:], spans_dropped=30)

    assert len(find_steady(late).spans) == 29


def test_cold_batches_are_counted_and_left_out() -> None:
    trace = trace_of(INLINE, [0.03] * 60, [0.01] * 60, read_bytes=0)
    cold = with_spans(trace, read_bytes=dict.fromkeys(range(20), 5_000_000))

    stats = stats_of(cold)

    assert stats.cold_batches == 20
    assert stats.batches == 40
    assert stats.read_bytes_per_batch == 0


def test_lumps_of_read_ahead_are_not_a_cold_start() -> None:
    trace = trace_of(INLINE, [0.03] * 60, [0.01] * 60, read_bytes=0)
    lumps = with_spans(trace, read_bytes=dict.fromkeys(range(0, 60, 7), 5_000_000))

    assert stats_of(lumps).cold_batches == 0


def test_a_run_that_stays_cold_has_no_cold_start() -> None:
    trace = trace_of(INLINE, [0.03] * 60, [0.01] * 60, read_bytes=5_000_000)

    assert stats_of(trace).cold_batches == 0


def test_unseen_values_are_left_out_and_not_averaged() -> None:
    trace = trace_of(INLINE, [0.03] * 20, [0.01] * 20, samples=8)
    half = with_spans(trace, samples=dict.fromkeys(range(0, 20, 2), -1))

    stats = stats_of(half)

    assert stats.samples_per_batch == 8
    assert stats.payload_bytes is None
    assert stats.device_stall_share is None
    assert stats.ready is None


def test_time_that_wellfed_took_is_no_step() -> None:
    trace = trace_of(INLINE, [0.03] * 20, [0.01] * 20, paused_ns=4 * MS)

    stats = stats_of(trace)

    assert stats.stages["step"].wall_s.value == pytest.approx(0.006)
    assert stats.period_s.value == pytest.approx(0.036)


def test_stages_that_cannot_exist_are_absent() -> None:
    inline = stats_of(trace_of(INLINE, [0.03] * 20, [0.01] * 20))
    workers = stats_of(trace_of(TWO, [0.03] * 20, [0.01] * 20))

    assert {"wait", "step", "sampler", "fetch", "samples", "collate"} == set(inline.stages)
    assert {"serialise", "queued", "idle", "receive"} == set(workers.stages) - set(inline.stages)


def test_the_maker_s_time_is_computing_queueing_or_off() -> None:
    trace = trace_of(TWO, [0.03] * 40, [0.01] * 40, cpu_share=0.5, run_queue_ns=6 * MS)

    stats = stats_of(trace)

    assert stats.maker_cpu_share == pytest.approx(0.5)
    assert stats.maker_queue_share == pytest.approx(0.2)
    assert stats.maker_off_share == pytest.approx(0.3)


def test_the_step_s_cores_come_from_the_process_clock() -> None:
    trace = trace_of(INLINE, [0.03] * 20, [0.01] * 20, step_cores=2.5)

    assert stats_of(trace).step_cpu_cores == pytest.approx(2.5, rel=1e-3)


def test_waits_behind_a_missing_batch_are_told_apart() -> None:
    trace = trace_of(INLINE, [0.03] * 21, [0.01] * 21)

    held = with_spans(trace, held=dict.fromkeys(range(1, 21, 2), 3))

    assert stats_of(held).held_wait_share == pytest.approx(0.75 / 2)


def test_sample_times_come_from_all_steady_batches() -> None:
    trace = trace_of(INLINE, [0.03] * 20, [0.01] * 20)
    spans = [
        msgspec.structs.replace(span, sample_sum_ns=4 << 20, sample_buckets={160: 4})
        for span in trace.spans
    ]

    stats = stats_of(msgspec.structs.replace(trace, spans=tuple(spans)))

    assert stats.sample_s == pytest.approx(2**20 * 1e-9)
    assert stats.sample_p99_s == pytest.approx(2**20 * 1e-9)
    assert stats.sample_cv == pytest.approx(0)


def test_start_up_is_what_the_first_batch_takes_beyond_a_usual_wait() -> None:
    trace = trace_of(INLINE, [0.03] * 20, [0.01] * 20, epochs=3, startup_s=0.5)

    stats = stats_of(trace)

    assert stats.startup_s is not None
    assert stats.startup_s.value == pytest.approx(0.5)
    assert stats.epoch_s == pytest.approx(0.5 + 20 * 0.04)
    assert stats.epochs == 3


def test_gauges_are_averaged_over_the_steady_window_only() -> None:
    trace = trace_of(INLINE, [0.03] * 20, [0.01] * 20)
    gauges = (
        Gauge(name="busy", how="test", at_ns=(-5, 400 * MS, 500 * MS), values=(99.0, 1.0, 3.0)),
        Gauge(name="late", how="test", at_ns=(10**12,), values=(1.0,)),
    )

    stats = stats_of(msgspec.structs.replace(trace, gauges=gauges))

    assert stats.gauges == {"busy": 2.0}


def test_draws_are_named() -> None:
    trace = trace_of(INLINE, [0.03] * 20, [0.01] * 20, drew=0)

    assert stats_of(with_spans(trace, drew={5: 1, 9: 4, 10: -1})).drew == ("python", "torch")


def test_batches_whose_maker_died_do_not_count_as_free() -> None:
    trace = trace_of(TWO, [0.03] * 40, [0.01] * 40)
    lost = dict.fromkeys(range(10, 20), 0)

    stats = stats_of(with_spans(trace, fetch_ns=lost, taken_ns=dict.fromkeys(lost, -1)))

    assert stats.stages["fetch"].wall_s.value == pytest.approx(0.03)
    assert stats.batches == 34


def test_a_varying_stage_shows_its_spread() -> None:
    rng = np.random.default_rng(0)
    service_s = 0.03 * rng.lognormal(-0.125, 0.5, 400)

    fetch = stats_of(trace_of(INLINE, service_s, [0.01] * 400)).stages["fetch"]

    assert fetch.cv == pytest.approx(0.53, abs=0.08)
    assert fetch.p50_s < fetch.wall_s.value < fetch.p90_s < fetch.p99_s


def test_spans_alone_are_enough() -> None:
    spans = [
        Span(epoch=0, number=n, asked_ns=n * 40 * MS, got_ns=n * 40 * MS + MS) for n in range(20)
    ]

    stats = stats_of(Trace(plan=TWO, spans=tuple(spans)))

    assert "fetch" not in stats.stages
    assert stats.period_s.value == pytest.approx(0.04)
