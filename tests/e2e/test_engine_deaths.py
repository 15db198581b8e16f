"""Whoever dies, and whenever: it is told at once, and none of the others is left behind."""

import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
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
    gone,
    kill,
    leave,
    template_of,
)
from torch.utils.data import Sampler

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
@pytest.mark.parametrize("how", [kill, leave, ask_to_leave, crash])
def test_a_worker_may_die_at_any_sample(how: Callable[[], None], at: int, workers: int) -> None:
    iterator = begun(Dying(how=how, at=at), num_workers=workers)

    fails_at_once(iterator)
    fails_at_once(iterator)


@pytest.mark.parametrize("how", [kill, leave])
def test_a_worker_may_die_in_a_thread(how: Callable[[], None]) -> None:
    fails_at_once(begun(Dying(how=how), plan=THREADS, thread_safe=True))


def test_the_cause_says_how_a_worker_left() -> None:
    error = fails_at_once(begun(Dying(how=leave)))

    assert re.search(r"pid \d+\) exited unexpectedly with exit code 3\.", str(error.__cause__))


def test_persistent_workers_that_died_stay_dead() -> None:
    loader = wellfed.DataLoader(Dying(), batch_size=4, num_workers=2, persistent_workers=True)
    fails_at_once(iter(loader))

    with pytest.raises(RuntimeError, match=DIED):
        iter(loader)


def test_timing_samples_ends_with_the_timeout() -> None:
    loader = wellfed.DataLoader(Slow(seconds=600), num_workers="auto", timeout=0.5)
    began_s = time.monotonic()

    with pytest.raises(RuntimeError, match=r"^DataLoader timed out after 0\.5 seconds$"):
        next(iter(loader))

    assert time.monotonic() - began_s < PATIENCE_S


def test_timing_samples_changes_no_batch() -> None:
    loader = wellfed.DataLoader(Counting(), batch_size=8, num_workers="auto")

    assert next(iter(loader)).tolist() == list(range(1, 9))


def test_timing_draws_from_no_generator_of_the_datasets_own() -> None:
    loader = wellfed.DataLoader(Owner(), batch_size=8, num_workers="auto")
    own = random.Random(4)

    assert next(iter(loader)).tolist() == [own.random() for _ in range(8)]


class Owner(Numbers):
    """Draws from a generator of its own, which nobody seeds anew."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "own", random.Random(4))

    def __getitem__(self, index: int) -> Any:
        return self.__dict__["own"].random()


class Counting(Numbers):
    """Changes itself: sample by sample it counts on."""

    def __getitem__(self, index: int) -> Any:
        object.__setattr__(self, "made", getattr(self, "made", 0) + 1)
        return self.__dict__["made"]


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


def test_an_iterator_ends_its_workers_when_its_sockets_are_closed_already() -> None:
    """The garbage collector finalizes the parts of a cycle in any order."""
    iterator = begun(Numbers())
    pids = [template_of(iterator), *iterator._workers]
    for member in iterator._stream._crew._members:
        member.socket.close()

    del iterator

    assert gone(pids)


class Refusing(Sampler[int]):
    """Raises after so many indices."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __iter__(self) -> Iterator[int]:
        yield from range(self.after)
        raise LookupError("no more of this")


def test_a_sampler_that_raises_at_the_start_leaves_nothing() -> None:
    loader = wellfed.DataLoader(Numbers(), batch_size=4, num_workers=2, sampler=Refusing(5))

    with pytest.raises(LookupError, match="no more of this"):
        iter(loader)


def test_indices_that_cannot_be_pickled_leave_nothing() -> None:
    odd: Any = [[lambda: 3], [4]]
    loader = wellfed.DataLoader(Numbers(), num_workers=2, batch_sampler=odd)

    with pytest.raises(Exception, match="pickle"):
        iter(loader)


# -- memory


def test_hoarded_batches_keep_no_more_shared_memory_than_is_allowed() -> None:
    """They are copied out of it beyond a bound, and are right all the same."""
    iterator = begun(Numbers(length=1_200, floats=64 << 10))

    kept = []
    shared = []
    for batch in iterator:
        kept.append(batch)
        crew = iterator._stream._crew
        shared.append(sum(crew.shelf(number).bytes for number in range(len(crew))))

    assert [float(batch[0, 0]) for batch in kept] == [4.0 * number for number in range(300)]
    assert max(shared) <= 128 << 20
    assert sum(batch.nbytes for batch in kept) > 2 * max(shared)


def test_persistent_workers_serve_one_epoch_after_the_other() -> None:
    loader = wellfed.DataLoader(Numbers(), batch_size=4, num_workers=2, persistent_workers=True)

    iterators: list[Any] = []
    pids = []
    for _ in range(3):
        iterators.append(iter(loader))
        pids.append(iterators[-1]._workers)
        assert len(list(iterators[-1])) == 25

    assert iterators[0] is iterators[1] is iterators[2]
    assert pids[0] == pids[1] == pids[2]
