"""A process is stopped in the company that it may be stopped in, and says where it cannot be."""

import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from test_ranks import DictStore

from wellfed._attach import ranks, stopping
from wellfed._attach.interrupt import is_waiting
from wellfed._attach.pacer import Limits
from wellfed._attach.stopping import UNANSWERED_S, Stopper, Stops
from wellfed._engine.watch.stopping import StopWatching
from wellfed.testing import FakeClock

S = 1_000_000_000


def recorder_of(name: str, batches: int) -> Any:
    return SimpleNamespace(name=name, batches=batches)


def stops(stopper: Stopper, recorder: Any) -> bool:
    try:
        stopper.step(recorder, recorder)
    except StopWatching:
        return True
    return False


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "group", lambda: None)


@pytest.fixture
def in_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 0 of two; the other one never answers."""
    store = DictStore()
    monkeypatch.setattr(ranks, "group", lambda: (0, 2, store))


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("company", "expected"),
    [(Stops.WITH_RANKS, True), (Stops.ALONE, True), (Stops.ONLY_WITH_RANKS, False)],
)
def test_without_a_group(company: Stops, expected: bool) -> None:
    stopper = Stopper(Limits(steps=3), lambda: False, stops=company)

    assert not stops(stopper, recorder_of("train", 2))
    assert stops(stopper, recorder_of("train", 3)) is stopper.told is expected


@pytest.mark.usefixtures("in_a_group")
@pytest.mark.parametrize(
    ("company", "expected"),
    [(Stops.WITH_RANKS, False), (Stops.ALONE, True), (Stops.ONLY_WITH_RANKS, False)],
)
def test_in_a_group_that_does_not_answer(company: Stops, expected: bool) -> None:
    stopper = Stopper(Limits(steps=3), lambda: False, stops=company)

    assert stops(stopper, recorder_of("train", 300)) is expected


@pytest.mark.usefixtures("in_a_group")
def test_ranks_that_do_not_answer_are_told_of_once() -> None:
    clock = FakeClock()
    said: list[str] = []
    stopper = Stopper(Limits(steps=3), lambda: False, tell=said.append, clock=clock)
    for batch in range(3, 3 + round(UNANSWERED_S)):
        assert not stops(stopper, recorder_of("train", batch))
        clock.advance(S)
    assert said == []

    for batch in range(30, 130):
        assert not stops(stopper, recorder_of("train", batch))
        clock.advance(S)

    assert len(said) == 1
    assert said[0].startswith("wellfed: not all ranks are watched")


@pytest.mark.usefixtures("in_a_group")
def test_ranks_may_answer_late_after_a_validation() -> None:
    clock = FakeClock()
    said: list[str] = []
    stopper = Stopper(Limits(steps=3), lambda: False, tell=said.append, clock=clock)
    train, validation = recorder_of("train", 3), recorder_of("validation", 0)
    for _ in range(100):
        stopper.step(validation, train)
        clock.advance(S)
    assert not stops(stopper, train)
    clock.advance(100 * S)

    assert not stops(stopper, recorder_of("train", 4))
    assert said == []


def test_ranks_that_agree_stop_and_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    store, said = DictStore(), list[str]()
    made = []
    for rank in (0, 1):
        monkeypatch.setattr(ranks, "group", lambda rank=rank: (rank, 2, store))
        made.append(Stopper(Limits(steps=3, seconds=0.0), lambda: False, tell=said.append))
        stops(made[-1], recorder_of("train", 3))
    stopped = [
        next(batch for batch in range(4, 99) if stops(stopper, recorder_of("train", batch)))
        for stopper in made
    ]

    assert stopped[0] == stopped[1]
    assert said == []


@pytest.mark.usefixtures("alone")
def test_a_script_watched_in_full_is_never_stopped() -> None:
    stopper = Stopper(Limits(steps=3, seconds=0.0, full=True), lambda: True)

    assert not stops(stopper, recorder_of("train", 1000))


@pytest.mark.usefixtures("alone")
def test_a_thread_that_feeds_one_that_leaves_by_itself_is_stopped() -> None:
    stopper = Stopper(Limits(steps=3), lambda: False)
    stopped: list[bool] = []

    def feed() -> None:
        time.sleep(0.05)  # until the watched thread is back from `start`, which waits too
        stopped.append(stops(stopper, recorder_of("train", 3)))

    feeder = threading.Thread(target=feed)
    feeder.start()
    time.sleep(0.2)  # busy, as far as its frames show
    held = feeder.is_alive()
    stopper.leave()
    feeder.join(timeout=10)

    assert held
    assert stopped == [True]


@pytest.mark.usefixtures("alone")
def test_a_batch_is_held_back_only_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "HOLD_BACK_S", 0.02)
    stopper = Stopper(Limits(steps=3), lambda: False)
    passed: list[bool] = []

    def feed() -> None:
        time.sleep(0.05)
        passed.extend(not stops(stopper, recorder_of("train", batch)) for batch in range(3, 9))

    feeder = threading.Thread(target=feed)
    feeder.start()
    deadline = time.perf_counter() + 10
    while len(passed) < 6 and time.perf_counter() < deadline:
        time.sleep(0.005)

    assert passed == [True] * 6
    assert not stopper.told
    feeder.join()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 1),
        ({"LOCAL_WORLD_SIZE": "4"}, 4),
        ({"LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "localhost"}, 4),
        ({"MASTER_ADDR": "127.0.0.1"}, 8),
        ({"MASTER_ADDR": "10.0.0.7"}, 1),
        ({"LOCAL_WORLD_SIZE": "many"}, 1),
    ],
)
def test_ranks_on_this_machine_are_told_by_the_launcher(
    environment: dict[str, str], expected: int
) -> None:
    assert ranks.local_world(environment, 8) == expected


def test_a_thread_waits_in_the_library_and_works_in_its_own_lines() -> None:
    woken = threading.Event()

    def wait() -> None:
        woken.wait()

    def work() -> None:
        while not woken.is_set():
            sum(range(10_000))

    threads = {"wait": threading.Thread(target=wait), "work": threading.Thread(target=work)}
    for thread in threads.values():
        thread.start()
    time.sleep(0.05)
    seen: dict[str, list[bool]] = {name: [] for name in threads}
    for _ in range(20):
        frames = sys._current_frames()
        for name, thread in threads.items():
            seen[name].append(is_waiting(frames.get(thread.ident or 0)))
        time.sleep(0.002)
    woken.set()
    for thread in threads.values():
        thread.join()

    assert all(seen["wait"])
    assert not all(seen["work"])
    assert not is_waiting(None)
