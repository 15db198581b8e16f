"""A recorder keeps what it was told, in the order of delivery, and hands it over as a Trace."""

from typing import Any

import pytest
import torch
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    TensorDataset,
)

from wellfed._engine.reading import in_memory, read_workload
from wellfed._engine.watch import recorder as recorder_module
from wellfed._engine.watch.note import NO_NOTE, NOTE_FIELDS
from wellfed._engine.watch.one_pass import Pass
from wellfed._engine.watch.recorder import Recorder
from wellfed._engine.watch.worker import Index, Mail
from wellfed.records import Plan, Span
from wellfed.testing import FakeClock, TinyItems

MS = 1_000_000


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_000 * MS)


@pytest.fixture
def recorder(clock: FakeClock) -> Recorder:
    return recorder_of(clock, workers=2)


LOADER: DataLoader[Any] = DataLoader(TinyItems(length=64), batch_size=4)


def recorder_of(clock: FakeClock, workers: int) -> Recorder:
    plan = Plan(workers=workers, prefetch=2 if workers else None)
    return Recorder(None, LOADER, plan, clock)


def arrive(one: Pass, number: int, **fields: Any) -> None:
    """The message of batch `number` arrives, with a note in which `fields` are set."""
    index = Index(number)
    note = list(NO_NOTE)
    for name, value in fields.items():
        note[NOTE_FIELDS.index(name)] = value
    index.mail = Mail(0, 77, note, [], begun_ns=1_001 * MS)
    index.mail.opening_ns, index.mail.opened_ns = 1_002 * MS, 1_003 * MS
    one.arrive(index)


def deliver(one: Pass, clock: FakeClock, number: int, wait_ms: int = 2, step_ms: int = 5) -> None:
    asked = clock()
    clock.advance(wait_ms * MS)
    one.deliver(number, (asked, clock(), 10, 20), ready=1)
    clock.advance(step_ms * MS)


def test_times_count_from_the_traces_zero(recorder: Recorder, clock: FakeClock) -> None:
    one = recorder.begin(clock())
    arrive(one, 0, worker=1, pid=77, fetch_ns=9, taken_ns=1_004 * MS, sent_ns=1_005 * MS)
    one.sampler_ns, one.paused_ns = 3, 4
    deliver(one, clock, 0)

    trace = recorder.trace(1_000 * MS, clock())

    assert trace.ended_ns == 7 * MS
    assert trace.spans == (
        Span(
            epoch=0,
            number=0,
            asked_ns=0,
            got_ns=2 * MS,
            asked_cpu_ns=10,
            got_cpu_ns=20,
            sampler_ns=3,
            ready=1,
            arrived_ns=2 * MS,
            receive_ns=MS,
            message_bytes=77,
            worker=1,
            pid=77,
            fetch_ns=9,
            taken_ns=4 * MS,
            sent_ns=5 * MS,
            paused_ns=4,
        ),
    )
    assert trace.epochs[0].first_ns == 2 * MS
    assert trace.epochs[0].worker_begin_ns == (MS,)


def test_what_was_not_seen_stays_unseen(recorder: Recorder, clock: FakeClock) -> None:
    one = recorder.begin(clock())
    deliver(one, clock, 0)

    (span,) = recorder.trace(1_000 * MS, clock()).spans

    assert (span.arrived_ns, span.taken_ns, span.sent_ns, span.device_stall_ns) == (-1,) * 4
    assert span.worker == -1


def test_lines_of_all_workers_add_up_and_the_hottest_is_first(
    recorder: Recorder, clock: FakeClock
) -> None:
    one = recorder.begin(clock())
    sampled = [
        [("data.py", 9, "read", "", 4, 4), ("data.py", 48, "decode", "PIL", 2, 0)],
        [("data.py", 48, "decode", "PIL", 3, 0)],
    ]
    for number, lines in enumerate(sampled):
        arrive(one, number)
        one.arrived[number].lines = lines
        deliver(one, clock, number)

    decode, read = recorder.trace(1_000 * MS, clock()).hot_lines

    assert (decode.line, decode.library, decode.samples, decode.locked) == (48, "PIL", 5, 0)
    assert (read.line, read.function, read.samples, read.locked) == (9, "read", 4, 4)


def test_a_step_that_waited_for_a_core_is_seen_from_the_second_batch_on(
    recorder: Recorder, clock: FakeClock
) -> None:
    one = recorder.begin(clock())
    totals = iter([100, 150, 400, 420])  # the thread's, when it asks and when it has got
    one._run_queue.read_ns = lambda: next(totals)  # type: ignore[method-assign]
    for number in (0, 1):
        one.asks()
        deliver(one, clock, number)

    assert [span.step_queue_ns for span in recorder.trace(0, clock()).spans] == [-1, 250]


def test_batches_held_back_are_counted(recorder: Recorder, clock: FakeClock) -> None:
    one = recorder.begin(clock())
    for number in (1, 2, 0):
        arrive(one, number)
    for number in range(3):
        deliver(one, clock, number)

    spans = recorder.trace(0, clock()).spans

    assert [span.held for span in spans] == [2, 1, 0]
    assert one.last == 0


def test_a_plain_index_brings_no_note(recorder: Recorder, clock: FakeClock) -> None:
    one = recorder.begin(clock())
    one.arrive(0)
    deliver(one, clock, 0)

    assert recorder.trace(0, clock()).spans[0].fetch_ns == 0


def test_waiting_and_holding_add_up_within_a_pass(recorder: Recorder, clock: FakeClock) -> None:
    for _ in range(2):
        one = recorder.begin(clock())
        for number in range(3):
            deliver(one, clock, number, wait_ms=2, step_ms=5)
        one.end(clock(), complete=True)
        clock.advance(1_000 * MS)  # a validation between the epochs is not this loader's

    assert recorder.batches == 6
    assert recorder.waited_ns == 6 * 2 * MS
    assert recorder.held_ns == recorder.waited_ns + 4 * 5 * MS
    assert recorder.seen().wait_s == pytest.approx(0.012)


def test_an_epoch_ends_once(recorder: Recorder, clock: FakeClock) -> None:
    one = recorder.begin(clock())
    deliver(one, clock, 0)
    one.end(clock(), complete=True)
    clock.advance(MS)
    one.end(clock(), complete=False)  # the iterator is dropped later

    (epoch,) = recorder.trace(1_000 * MS, clock()).epochs
    assert (epoch.complete, epoch.ended_ns, epoch.batches) == (True, 7 * MS, 1)


def test_an_abandoned_epoch_is_not_complete(recorder: Recorder, clock: FakeClock) -> None:
    given_up = recorder.begin(clock())
    deliver(given_up, clock, 0)
    given_up.end(clock(), complete=False)
    recorder.begin(clock())

    first, second = recorder.trace(0, clock()).epochs
    assert (first.complete, first.batches) == (False, 1)
    assert (second.complete, second.batches, second.first_ns, second.ended_ns) == (False, 0, -1, -1)


def test_several_live_passes_keep_their_own_counts(recorder: Recorder, clock: FakeClock) -> None:
    one, other = recorder.begin(clock()), recorder.begin(clock())
    for number in range(2):
        deliver(one, clock, number)
        deliver(other, clock, number)

    trace = recorder.trace(0, clock())

    assert [(span.epoch, span.number) for span in trace.spans] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert [epoch.batches for epoch in trace.epochs] == [2, 2]


def test_the_oldest_spans_are_dropped_and_counted(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "MOST_SPANS", 10)
    recorder = recorder_of(clock, workers=2)
    one = recorder.begin(clock())
    for number in range(25):
        deliver(one, clock, number)

    trace = recorder.trace(0, clock())

    assert [span.number for span in trace.spans] == list(range(15, 25))
    assert trace.spans_dropped == 15
    assert trace.epochs[0].batches == 25


@pytest.mark.parametrize(
    ("before", "after", "shown"), [(5, 12, range(5, 17)), (12, 5, range(12)), (6, 6, range(6, 12))]
)
def test_a_trace_is_of_the_plan_that_made_most_batches(
    clock: FakeClock, before: int, after: int, shown: range
) -> None:
    recorder = recorder_of(clock, workers=2)
    few, many = recorder.plan, Plan(workers=4, prefetch=2)
    one = recorder.begin(clock())
    for number in range(before):
        deliver(one, clock, number)
    recorder.plan = many
    for number in range(before, before + after):
        deliver(one, clock, number)

    trace = recorder.trace(0, clock())

    assert trace.plan == (many if after >= before else few)
    assert [span.number for span in trace.spans] == list(shown)
    assert trace.spans_dropped == before + after - len(shown)


def test_plans_of_batches_that_are_not_kept_any_more_are_forgotten(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "MOST_SPANS", 6)
    recorder = recorder_of(clock, workers=2)
    one = recorder.begin(clock())
    for number in range(20):
        deliver(one, clock, number)
    recorder.plan = Plan(workers=4, prefetch=2)
    for number in range(20, 24):
        deliver(one, clock, number)

    trace = recorder.trace(0, clock())

    assert trace.plan.workers == 4
    assert [span.number for span in trace.spans] == [20, 21, 22, 23]


def test_the_oldest_epochs_are_dropped_with_their_spans(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "MOST_EPOCHS", 3)
    recorder = recorder_of(clock, workers=2)
    for _ in range(5):
        one = recorder.begin(clock())
        for number in range(2):
            deliver(one, clock, number)
        one.end(clock(), complete=True)

    trace = recorder.trace(0, clock())

    assert [epoch.index for epoch in trace.epochs] == [0, 1, 2]
    assert [span.epoch for span in trace.spans] == [0, 0, 1, 1, 2, 2]
    assert trace.spans_dropped == 4


def test_a_trace_may_be_asked_for_again(recorder: Recorder, clock: FakeClock) -> None:
    one = recorder.begin(clock())
    arrive(one, 0, taken_ns=clock())
    deliver(one, clock, 0)

    assert recorder.trace(500, 10**10) == recorder.trace(500, 10**10)


def test_a_device_stall_goes_to_its_span(recorder: Recorder, clock: FakeClock) -> None:
    one = recorder.begin(clock())
    for number in range(2):
        deliver(one, clock, number)
    recorder.stall.stalls_ns[1] = 42

    trace = recorder.trace(0, clock())

    assert [span.device_stall_ns for span in trace.spans] == [-1, 42]
    assert trace.device == "cuda"


def test_without_workers_the_makers_note_is_taken(clock: FakeClock) -> None:
    recorder = recorder_of(clock, workers=0)
    one = recorder.begin(clock())
    assert one.maker is not None
    one.maker.note = list(NO_NOTE)
    one.maker.note[NOTE_FIELDS.index("fetch_ns")] = 11
    one.maker.paths = ["/data/a"]
    deliver(one, clock, -1)

    assert recorder.trace(0, clock()).spans[0].fetch_ns == 11
    assert list(recorder.paths) == ["/data/a"]


# -- what is loaded


class Users(Sampler[int]):
    """A sampler whose length may not be asked for."""

    def __iter__(self) -> Any:
        return iter(range(4))

    def __len__(self) -> int:
        raise AssertionError("its length was asked for")


class Endless(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(4))


ROWS = TensorDataset(torch.zeros(10, 2))


@pytest.mark.parametrize(
    ("loader", "expected"),
    [
        (DataLoader(ROWS, batch_size=3), ("map", 10, 4, True)),
        (DataLoader(ROWS, batch_size=3, drop_last=True), ("map", 10, 3, True)),
        (DataLoader(ROWS, sampler=RandomSampler(ROWS)), ("map", 10, 10, True)),
        (DataLoader(TinyItems(length=9), sampler=Users()), ("map", 9, None, False)),
        (DataLoader(Endless(), batch_size=2), ("iterable", None, None, False)),
    ],
    ids=["whole", "drop_last", "random", "users_sampler", "iterable"],
)
def test_a_workload_is_read_and_no_sampler_of_the_users_is_asked(
    loader: DataLoader[Any], expected: tuple[Any, ...]
) -> None:
    found = Recorder(None, loader, Plan()).workload

    assert expected == (found.style, found.length, found.batches_per_epoch, found.in_memory)


class Telling(TinyItems):
    """Fails where it is asked for anything."""

    def __len__(self) -> int:
        raise AssertionError("its length was asked for")

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked for")


def test_a_dataset_is_asked_for_nothing_while_it_is_read() -> None:
    found = read_workload(DataLoader(Telling(), sampler=Users()))

    assert not found.batched_fetch
    assert found.length is None


def test_the_length_of_a_dataset_that_is_gone_shows_in_whole_epochs(clock: FakeClock) -> None:
    recorder = Recorder(None, DataLoader(TinyItems(length=64)), Plan(), clock)
    for batches, complete in ((3, True), (5, False)):
        one = recorder.begin(clock())
        for number in range(batches):
            deliver(one, clock, number)
        one.end(clock(), complete=complete)

    assert recorder.loader() is None
    assert (recorder.workload.length, recorder.workload.batches_per_epoch) == (None, 3)


def test_only_torchs_own_tensors_count_as_in_memory() -> None:
    class Special(TensorDataset):
        pass

    assert in_memory(Subset(ROWS, [1]))
    assert in_memory(ConcatDataset([ROWS, Subset(ROWS, [2])]))
    assert not in_memory(Special(torch.zeros(1)))
    assert not in_memory(ConcatDataset([ROWS, TinyItems()]))
