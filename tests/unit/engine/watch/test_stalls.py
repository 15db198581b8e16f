"""Device stalls are read from pairs of events that completed, and nothing is ever waited for."""

from typing import Any

import pytest
import torch

from wellfed._engine.watch import stalls
from wellfed._engine.watch.stalls import MOST_PAIRS, StallClock


class Stream:
    """A device's stream: events complete when the work before them is done."""

    def __init__(self, device: int = 0) -> None:
        self.device = device
        self.now_ms = 0.0
        self.busy_until_ms = 0.0

    def work(self, ms: float) -> None:
        self.busy_until_ms = max(self.now_ms, self.busy_until_ms) + ms


class FakeEvent:
    made = 0

    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.at_ms = 0.0
        FakeEvent.made += 1

    def record(self, stream: Stream) -> None:
        assert self.stream is None or self.stream.device == stream.device
        self.stream = stream
        self.at_ms = max(stream.now_ms, stream.busy_until_ms)

    def query(self) -> bool:
        assert self.stream is not None
        return self.at_ms <= self.stream.now_ms

    def elapsed_time(self, end: "FakeEvent") -> float:
        assert self.stream is end.stream
        return end.at_ms - self.at_ms


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[Stream]:
    """Two devices are in use; the tests work on them."""
    made = [Stream(0), Stream(1)]
    monkeypatch.setattr(FakeEvent, "made", 0)
    monkeypatch.setattr(StallClock, "_event", lambda _: FakeEvent())
    monkeypatch.setattr(StallClock, "ready", lambda _: True)
    monkeypatch.setattr(stalls, "_streams", lambda: made)
    return made


@pytest.fixture
def stream(streams: list[Stream]) -> Stream:
    del streams[1:]
    return streams[0]


def wait(clock: StallClock, stream: Stream, key: int, ms: float) -> None:
    clock.asked()
    stream.now_ms += ms
    clock.got(key)


def test_an_idle_device_stalls_as_long_as_the_trainer_waits(stream: Stream) -> None:
    clock = StallClock()

    wait(clock, stream, 0, 25)

    assert clock.stalls_ns == {0: 25_000_000}


def test_a_busy_device_does_not_stall_however_long_the_wait(stream: Stream) -> None:
    clock = StallClock()
    stream.work(100)

    wait(clock, stream, 0, 25)
    assert clock.stalls_ns == {}  # not known yet, and not waited for

    stream.now_ms = 100
    clock.resolve()
    assert clock.stalls_ns == {0: 0}


def test_only_the_idle_part_of_a_wait_is_a_stall(stream: Stream) -> None:
    clock = StallClock()
    stream.work(10)

    wait(clock, stream, 7, 25)

    assert clock.stalls_ns == {7: 15_000_000}


def test_events_are_used_again(stream: Stream) -> None:
    clock = StallClock()
    for key in range(100):
        wait(clock, stream, key, 1)

    assert FakeEvent.made == 2
    assert len(clock.stalls_ns) == 100


def test_pairs_that_never_complete_are_given_up(stream: Stream) -> None:
    clock = StallClock()
    stream.work(1e9)
    for key in range(2 * MOST_PAIRS):
        wait(clock, stream, key, 1)

    assert len(clock._open) == MOST_PAIRS
    assert clock.stalls_ns == {}


def test_a_long_run_keeps_the_last_stalls(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stalls, "MOST_STALLS", 10)
    clock = StallClock()
    for key in range(25):
        wait(clock, stream, key, 1)

    assert list(clock.stalls_ns) == list(range(15, 25))


def test_a_batch_that_never_came_leaves_nothing(stream: Stream) -> None:
    clock = StallClock()
    clock.asked()
    wait(clock, stream, 1, 5)

    assert clock.stalls_ns == {1: 5_000_000}


def test_the_device_that_stalls_least_counts(streams: list[Stream]) -> None:
    clock = StallClock()
    for key, busy_ms in enumerate((0, 10, 25)):
        streams[1].work(busy_ms)
        clock.asked()
        for stream in streams:
            stream.now_ms += 25
        clock.got(key)

    assert clock.stalls_ns == {0: 25_000_000, 1: 15_000_000, 2: 0}
    assert FakeEvent.made == 4


def test_a_device_first_used_meanwhile_is_not_paired(streams: list[Stream]) -> None:
    late = streams.pop()
    clock = StallClock()
    clock.asked()
    streams.append(late)
    streams[0].now_ms += 5
    clock.got(0)

    assert clock.stalls_ns == {0: 5_000_000}


def test_a_wait_in_which_a_graph_is_captured_is_not_timed(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StallClock()
    clock.asked()
    monkeypatch.setattr(StallClock, "ready", lambda _: False)
    clock.got(0)
    monkeypatch.setattr(StallClock, "ready", lambda _: True)
    wait(clock, stream, 1, 5)

    assert clock.stalls_ns == {1: 5_000_000}


@pytest.mark.parametrize(("begun", "capturing"), [(False, False), (True, True), (True, False)])
def test_it_is_ready_between_captures(
    begun: bool, capturing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: begun)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: capturing)

    assert StallClock.ready() is (begun and not capturing)


def test_only_devices_with_a_context_are_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch._C, "_cuda_hasPrimaryContext", lambda one: one in (1, 3), False)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda one: ("default", one))
    current = {1: ("default", 1), 3: ("copies", 3)}
    monkeypatch.setattr(torch.cuda, "current_stream", current.__getitem__)

    assert stalls._streams() == {("default", 1), ("default", 3), ("copies", 3)}


def test_a_torch_that_cannot_tell_means_the_current_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch._C, "_cuda_hasPrimaryContext", False)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)

    assert stalls._devices() == [2]


def test_a_process_without_a_device_records_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> Any:
        raise AssertionError("an event was made")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(StallClock, "_event", never)
    clock = StallClock()
    clock.asked()
    clock.got(0)

    assert clock.stalls_ns == {}
