"""Device stalls are read from pairs of events that completed, and nothing is ever waited for."""

from typing import Any

import pytest
import torch

from wellfed._engine import device
from wellfed._engine.device import MOST_PAIRS, StallClock


class Stream:
    """A device's stream: events complete when the work before them is done."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self.busy_until_ms = 0.0
        self.made = 0

    def work(self, ms: float) -> None:
        self.busy_until_ms = max(self.now_ms, self.busy_until_ms) + ms


class FakeEvent:
    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.at_ms = 0.0
        stream.made += 1

    def record(self) -> None:
        self.at_ms = max(self.stream.now_ms, self.stream.busy_until_ms)

    def query(self) -> bool:
        return self.at_ms <= self.stream.now_ms

    def elapsed_time(self, end: "FakeEvent") -> float:
        return end.at_ms - self.at_ms


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    made = Stream()
    monkeypatch.setattr(StallClock, "_event", lambda _: FakeEvent(made))
    monkeypatch.setattr(StallClock, "ready", lambda _: True)
    return made


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

    assert stream.made == 2
    assert len(clock.stalls_ns) == 100


def test_pairs_that_never_complete_are_given_up(stream: Stream) -> None:
    clock = StallClock()
    stream.work(1e9)
    for key in range(2 * MOST_PAIRS):
        wait(clock, stream, key, 1)

    assert len(clock._open) == MOST_PAIRS
    assert clock.stalls_ns == {}


def test_a_long_run_keeps_the_last_stalls(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "MOST_STALLS", 10)
    clock = StallClock()
    for key in range(25):
        wait(clock, stream, key, 1)

    assert list(clock.stalls_ns) == list(range(15, 25))


def test_a_batch_that_never_came_leaves_nothing(stream: Stream) -> None:
    clock = StallClock()
    clock.asked()
    wait(clock, stream, 1, 5)

    assert clock.stalls_ns == {1: 5_000_000}


def test_a_process_without_a_device_records_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> Any:
        raise AssertionError("an event was made")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(StallClock, "_event", never)
    clock = StallClock()
    clock.asked()
    clock.got(0)

    assert clock.stalls_ns == {}
