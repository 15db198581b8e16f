import msgspec
import pytest
from insight_traces import MS, trace_of

from wellfed._insight.ledger import account
from wellfed.records import Ledger, LoaderSeen, Plan, Trace

TWO = Plan(workers=2, prefetch=2)
INLINE = Plan(workers=0)


def lines_of(ledger: Ledger) -> dict[str, float]:
    return {line.name: round(line.seconds, 6) for line in ledger.lines}


def test_nothing_seen_is_an_empty_ledger() -> None:
    assert Ledger(wall_s=0.0, lines=()) == account(Trace(plan=INLINE))


def test_without_workers_the_wait_is_the_fetch_and_its_parts() -> None:
    trace = trace_of(
        INLINE, [0.03] * 10, [0.01] * 10, startup_s=0.2, collate_ns=5 * MS, sampler_ns=0
    )

    ledger = account(trace)

    assert lines_of(ledger) == {"startup": 0.2, "fetch": 0.25, "collate": 0.05, "step": 0.1}
    assert ledger.wall_s == pytest.approx(0.6)


def test_with_workers_start_up_lasts_until_the_first_batch() -> None:
    ledger = account(trace_of(TWO, [0.03] * 3, [0.1] * 3, startup_s=0.2))

    assert lines_of(ledger) == {"startup": 0.23, "step": 0.3}


def test_receiving_and_sampling_are_taken_out_of_the_wait() -> None:
    trace = trace_of(TWO, [0.1] * 21, [0.0] * 21, receive_ns=2 * MS, sampler_ns=1 * MS)

    lines = lines_of(account(trace))

    assert lines["receive"] == 0.042
    # The first batch's wait is start-up, and every second batch is there when asked for: its
    # wait is as long as its receiving, from which the sampler takes its part first.
    assert lines["sampler"] == 0.02
    assert lines["wait"] == pytest.approx(1.0, abs=0.1)


def test_a_pinned_batch_is_not_received_by_the_trainer() -> None:
    trace = trace_of(TWO, [0.1] * 20, [0.0] * 20, receive_ns=2 * MS)
    asked = Plan(workers=2, prefetch=2, pin_memory=True)
    pinned = msgspec.structs.replace(trace, plan=asked, device="cuda")

    assert account(pinned).share("receive") == 0.0
    # Without an accelerator nothing is pinned, and no thread receives.
    assert account(msgspec.structs.replace(pinned, device="cpu")).share("receive") > 0.0


def test_shutting_down_is_no_step() -> None:
    trace = trace_of(INLINE, [0.03] * 10, [0.1] * 10)
    closing = msgspec.structs.replace(trace.epochs[0], shutdown_ns=60 * MS)

    lines = lines_of(account(msgspec.structs.replace(trace, epochs=(closing,))))

    assert lines["shutdown"] == 0.06
    assert lines["step"] == 0.94


def test_time_after_the_last_epoch_is_other() -> None:
    trace = trace_of(INLINE, [0.03] * 10, [0.1] * 10)

    ledger = account(msgspec.structs.replace(trace, ended_ns=trace.ended_ns + 1000 * MS))

    assert lines_of(ledger)["other"] == 1.0


def test_other_loaders_are_taken_out_of_other_first_and_then_out_of_the_step() -> None:
    trace = trace_of(INLINE, [0.03] * 10, [0.1] * 10)
    validation = LoaderSeen(dataset="Validation", workers=0, batches=9, wait_s=0.7)
    trace = msgspec.structs.replace(trace, ended_ns=trace.ended_ns + 500 * MS, others=(validation,))

    lines = lines_of(account(trace))

    assert lines["other_loaders"] == 0.7
    assert lines["step"] == 0.8
    assert "other" not in lines


def test_what_wellfed_paused_the_loop_for_is_other() -> None:
    lines = lines_of(account(trace_of(INLINE, [0.03] * 11, [0.1] * 11, paused_ns=10 * MS)))

    assert lines["other"] == 0.1


def test_a_run_that_stopped_within_a_step_charges_it() -> None:
    trace = trace_of(INLINE, [0.03] * 10, [0.1] * 10)
    running = msgspec.structs.replace(trace.epochs[0], ended_ns=-1, complete=False)

    lines = lines_of(account(msgspec.structs.replace(trace, epochs=(running,))))

    assert lines == {"fetch": 0.3, "step": 1.0}


def test_with_dropped_spans_the_wall_begins_at_the_first_kept() -> None:
    trace = trace_of(INLINE, [0.03] * 10, [0.1] * 10)
    late = msgspec.structs.replace(trace, spans=trace.spans[6:], spans_dropped=6)

    assert account(late).wall_s == pytest.approx(4 * 0.13)
