"""Whoever dies, and whenever: it is told at once, and none of the others is left behind."""

import os
import re
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from fault_jobs import (
    PATIENCE_S,
    Dying,
    Numbers,
    Slow,
    ask_to_leave,
    begun,
    crash,
    firsts,
    gone,
    kill,
    leave,
    leave_in_peace,
    template_of,
)

import wellfed
from wellfed.records import Plan

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

DIED = r"DataLoader worker \(pid\(s\) \d+(, \d+)*\) exited unexpectedly"
# Torch looks after its workers every 5 s.
AT_ONCE_S = 3.0

THREADS = Plan(backend="processes", workers=2, prefetch=2, threads=8)


def fails_at_once(iterator: Any) -> RuntimeError:
    """The error that the rest of the epoch ends in."""
    began_s = time.monotonic()
    with pytest.raises(RuntimeError, match=DIED) as raised:
        list(iterator)
    assert time.monotonic() - began_s < AT_ONCE_S
    return raised.value


# -- a worker


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("at", [0, 2, 21, 99])
@pytest.mark.parametrize("how", [kill, leave, ask_to_leave, leave_in_peace, crash])
def test_a_worker_may_die_at_any_sample(how: Callable[[], None], at: int, workers: int) -> None:
    iterator = begun(Dying(how=how, at=at), num_workers=workers)

    fails_at_once(iterator)
    fails_at_once(iterator)


@pytest.mark.parametrize("how", [kill, leave])
def test_a_worker_may_die_in_a_thread(how: Callable[[], None]) -> None:
    fails_at_once(begun(Dying(how=how), plan=THREADS, thread_safe=True))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (kill, "is killed by signal: Killed"),
        (crash, "is killed by signal: Segmentation fault"),
        (leave, "exited unexpectedly with exit code 3"),
        (leave_in_peace, "exited unexpectedly with exit code 0"),
    ],
)
def test_the_cause_says_how_a_worker_died(how: Callable[[], None], said: str) -> None:
    error = fails_at_once(begun(Dying(how=how)))

    assert re.search(rf"pid \d+\) {said}\.", str(error.__cause__))


def test_persistent_workers_that_died_stay_dead() -> None:
    loader = wellfed.DataLoader(Dying(), batch_size=4, num_workers=2, persistent_workers=True)
    fails_at_once(iter(loader))

    with pytest.raises(RuntimeError, match=DIED):
        iter(loader)


def test_a_worker_killed_between_two_batches_is_told_at_once() -> None:
    """What it had made before is still delivered, in order, and nothing after what it owes."""
    batches = begun(Numbers(400), prefetch_factor=1)
    got = firsts([next(batches)])
    os.kill(batches._workers[0], signal.SIGKILL)
    assert gone(batches._workers[:1])
    began_s = time.monotonic()

    with pytest.raises(RuntimeError, match=DIED):
        got += firsts(iter(lambda: next(batches), None))

    assert time.monotonic() - began_s < AT_ONCE_S
    assert got == [4.0 * number for number in range(len(got))]
    with pytest.raises(RuntimeError, match=DIED):
        next(batches)


def test_all_workers_may_die_at_once() -> None:
    batches = begun(Numbers(400))
    next(batches)
    for pid in batches._workers:
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(RuntimeError, match=DIED):
        list(batches)


def test_workers_that_are_killed_before_their_first_batch() -> None:
    batches = begun(Numbers(400))
    for pid in batches._workers:
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(RuntimeError, match=DIED):
        list(batches)


def test_a_loader_may_be_iterated_again_after_a_death() -> None:
    of: Any = wellfed.DataLoader(Numbers(400), batch_size=4, num_workers=2)
    batches: Any = iter(of)
    os.kill(batches._workers[0], signal.SIGKILL)
    assert gone(batches._workers[:1])
    with pytest.raises(RuntimeError, match=DIED):
        list(batches)

    assert firsts(of) == [4.0 * number for number in range(100)]


# -- the template


def test_workers_end_when_their_template_is_killed() -> None:
    iterator = begun(Slow(seconds=600))
    workers = iterator._workers

    os.kill(template_of(iterator), signal.SIGKILL)

    assert gone(workers)
    fails_at_once(iterator)


def test_a_template_may_die_before_its_workers_are_there() -> None:
    iterator = begun(Numbers(length=4_000))
    os.kill(template_of(iterator), signal.SIGKILL)

    fails_at_once(iterator)


# -- the iterator


@pytest.mark.parametrize("options", [{}, {"plan": THREADS, "thread_safe": True}])
def test_workers_that_do_not_end_are_killed(options: dict[str, Any]) -> None:
    iterator = begun(Slow(seconds=600), **options)
    pids = [template_of(iterator), *iterator._workers]
    began_s = time.monotonic()

    del iterator

    assert gone(pids)
    assert time.monotonic() - began_s < PATIENCE_S


def test_the_workers_of_an_iterator_that_died_are_listed_with_how_they_ended() -> None:
    iterator = begun(Dying(how=leave))
    pids = list(iterator._workers)
    fails_at_once(iterator)

    assert iterator._workers == pids
    assert not any(worker.is_alive() for worker in iterator._workers)
    assert {worker.exitcode for worker in iterator._workers} <= {3, 0, None}
