"""Threads that fetch: when a task is done, which error is told, who is woken."""

import select
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from wellfed._engine.failures import raise_failure
from wellfed._engine.gang import Gang, Samples
from wellfed._engine.wire import Task

PATIENCE_S = 10.0


class Gates:
    """A dataset whose samples wait until they are let through."""

    def __init__(self, length: int = 8, *, open_ones: bool = False) -> None:
        self.gates = [threading.Event() for _ in range(length)]
        self.broken: set[int] = set()
        self.threads: set[int] = set()
        if open_ones:
            self.open(*range(length))

    def open(self, *indices: int) -> None:
        for index in indices:
            self.gates[index].set()

    def __getitem__(self, index: int) -> int:
        assert self.gates[index].wait(PATIENCE_S)
        self.threads.add(threading.get_ident())
        if index in self.broken:
            raise ValueError(f"sample {index}")
        return index * index


def task(number: int, *index: int) -> Task:
    return Task(0, number, 0, 0, 1, True, False, 0, list(index))


@pytest.fixture
def gates() -> Iterator[Gates]:
    gates = Gates()
    yield gates
    gates.open(*range(len(gates.gates)))


def finished(gang: Gang) -> list[Samples]:
    """The tasks that complete next."""
    waiting = select.poll()
    waiting.register(gang.wake, select.POLLIN)
    for _ in range(100):
        assert waiting.poll(PATIENCE_S * 1000), "nobody is woken"
        if done := gang.finished():
            return done
    raise AssertionError("woken for nothing")


def test_samples_keep_their_places_whichever_comes_first(gates: Gates) -> None:
    gang = Gang(gates, 4)
    gang.start(task(0, 3, 1, 2))

    for index in (2, 1, 3):
        assert not gang.idle
        gates.open(index)

    (samples,) = finished(gang)
    assert samples.got == [9, 1, 4]
    assert samples.failure == b""
    assert gang.idle
    assert gang.finished() == []


def test_a_slow_task_holds_up_no_other(gates: Gates) -> None:
    gang = Gang(gates, 2)
    gang.start(task(0, 0))
    gang.start(task(1, 1))

    gates.open(1)
    (samples,) = finished(gang)

    assert samples.task.number == 1
    assert not gang.idle
    gates.open(0)
    assert [one.task.number for one in finished(gang)] == [0]
    assert gang.idle


def test_the_first_sample_that_raised_is_the_one_told_of(gates: Gates) -> None:
    gates.broken = {1, 2}
    gang = Gang(gates, 4)
    gang.start(task(0, 0, 1, 2, 3))

    for index in (3, 2, 1, 0):
        gates.open(index)
    (samples,) = finished(gang)

    with pytest.raises(ValueError, match="sample 1"):
        raise_failure(samples.failure)


def test_it_is_hungry_while_a_thread_is_idle(gates: Gates) -> None:
    gang = Gang(gates, 2)
    assert gang.hungry()

    gang.start(task(0, 0))
    assert gang.hungry()
    gang.start(task(1, 1, 2))
    assert not gang.hungry()

    gates.open(0, 1)
    assert [one.task.number for one in finished(gang)] == [0]
    waiting = select.poll()
    waiting.register(gang.wake, select.POLLIN)
    while not gang.hungry():
        assert waiting.poll(PATIENCE_S * 1000), "a thread is idle, and nobody is woken"
        gang.finished()


def test_samples_are_fetched_in_other_threads() -> None:
    dataset: Any = Gates(open_ones=True)
    gang = Gang(dataset, 3)
    gang.start(task(0, *range(8)))

    finished(gang)

    assert threading.get_ident() not in dataset.threads
    assert len(dataset.threads) <= 3


def test_a_task_knows_when_it_began(gates: Gates) -> None:
    gang = Gang(gates, 1, clock=lambda: 17)
    gang.start(task(0, 0))
    gates.open(0)

    assert [one.began_ns for one in finished(gang)] == [17]
