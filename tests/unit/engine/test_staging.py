"""Batches copied ahead: order, errors, what is asked of the stream and when, sources, ends."""

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from host_copies import HostCopies, Scripted
from torch import Tensor

from wellfed._engine import staging
from wellfed._engine.carrier import THREAD_NAME
from wellfed._engine.staging import MOST_AHEAD, CopiedAhead, CopiedInPlace, staged
from wellfed._engine.taking import Takes
from wellfed.job import Job

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


def batches(count: int) -> list[Any]:
    return [torch.full((4,), number) for number in range(count)]


def firsts(stream: Any) -> list[int]:
    return [int(batch[0]) for batch in stream]


@pytest.fixture
def open_stage() -> Iterator[Any]:
    """Makes stages that are closed after the test."""
    made: list[CopiedAhead] = []

    def make(stream: Scripted, host: HostCopies, timeout_s: float = 0) -> CopiedAhead:
        made.append(CopiedAhead(stream, host, timeout_s))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_what_can_be_taken_from_is_copied_ahead_and_all_else_in_place() -> None:
    job = Job(dataset=None, workers=2)
    ahead = staged(Scripted([]), job, HostCopies())
    in_place = staged(iter([]), job, HostCopies())  # type: ignore[arg-type]

    assert isinstance(Scripted([]), Takes)
    assert isinstance(ahead, CopiedAhead)
    assert isinstance(in_place, CopiedInPlace)
    ahead.close()


@pytest.mark.parametrize("arrived", [0, 1, 3, 20])
@pytest.mark.parametrize("marks", [False, True])
def test_all_batches_come_in_order_however_early_they_arrive(
    open_stage: Any, arrived: int, marks: bool
) -> None:
    host, stream = HostCopies(marks=marks), Scripted(batches(20), arrived)
    stage = open_stage(stream, host)

    assert firsts(stage) == list(range(20))
    assert stage.ended
    assert stream.handed == 20
    assert host.threads == {THREAD_NAME}
    assert {thread for _, _, thread in host.received} == {threading.current_thread().name}


def test_batches_that_are_there_are_taken_ahead_and_no_more_than_allowed(open_stage: Any) -> None:
    stream = Scripted(batches(10))
    stage = open_stage(stream, HostCopies())
    taken = []
    for _ in range(10):
        next(stage)
        taken.append(stream.taken)

    assert taken == [min(10, number + 1 + MOST_AHEAD) for number in range(10)]
    assert stream.waited == 0


def test_the_stream_is_told_once_a_batch_and_before_it_is_handed_over(open_stage: Any) -> None:
    """It is then that the sampler is asked for another, as in torch."""
    stream = Scripted(batches(6))
    stage = open_stage(stream, HostCopies())
    told = []
    for _ in range(6):
        next(stage)
        told.append(stream.handed)

    assert told == [1, 2, 3, 4, 5, 6]


def test_the_end_waits_for_the_last_batch(open_stage: Any) -> None:
    stream = Scripted(batches(2))
    stage = open_stage(stream, HostCopies())
    ended = [stage.ended]
    for _ in range(2):
        next(stage)
        ended.append(stage.ended)

    assert stream.ended
    assert ended == [False, False, True]
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(stage)


def test_an_exception_comes_in_the_place_of_its_batch(open_stage: Any) -> None:
    script = batches(5)
    script[2] = ValueError("sample 9 is broken")
    stream = Scripted(script)
    stage = open_stage(stream, HostCopies())
    before = [int(next(stage)[0]), int(next(stage)[0])]
    with pytest.raises(ValueError, match="sample 9 is broken"):
        next(stage)

    assert before == [0, 1]
    assert firsts(stage) == [3, 4]
    assert stream.handed == 5


class Unpinnable:
    def pin_memory(self) -> Any:
        raise ValueError("will not be pinned")


def test_an_exception_of_the_copy_comes_in_its_place_too(open_stage: Any) -> None:
    script = batches(3)
    script[1] = Unpinnable()
    stage = open_stage(Scripted(script), HostCopies())
    next(stage)
    with pytest.raises(ValueError, match=r"in pin memory thread for device 0(.|\n)*will not be"):
        next(stage)

    assert firsts(stage) == [2]


def test_a_sampler_that_raises_loses_the_batch_and_no_other(open_stage: Any) -> None:
    stream = Scripted(batches(4))
    stage = open_stage(stream, HostCopies())
    next(stage)

    def raises() -> None:
        stream.on_handed = lambda: None
        raise LookupError("no index")

    stream.on_handed = raises
    with pytest.raises(LookupError):
        next(stage)

    assert firsts(stage) == [2, 3]


class Dying(Scripted):
    def take_arrived(self) -> Any:
        if self.taken == 2:
            raise RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")
        return super().take_arrived()


def test_a_death_is_told_at_once_and_again(open_stage: Any) -> None:
    stage = open_stage(Dying(batches(6), arrived=1), HostCopies())
    next(stage)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="pid"):
            next(stage)


def test_a_batch_that_is_not_copied_in_time_is_torchs_error(open_stage: Any) -> None:
    hold = threading.Event()
    stage = open_stage(Scripted(batches(2)), HostCopies(hold=hold), 0.01)
    with pytest.raises(RuntimeError, match=r"^DataLoader timed out after 0\.01 seconds$"):
        next(stage)
    hold.set()
    # It was only late.
    while True:
        try:
            assert int(next(stage)[0]) == 0
            break
        except RuntimeError:
            continue


# -- sources


def watched(stream: Scripted) -> list[Any]:
    return [weakref.ref(batch) for batch in stream.batches]


def alive(sources: list[Any]) -> list[int]:
    gc.collect()
    return [number for number, source in enumerate(sources) if source() is not None]


def test_a_source_goes_once_it_is_copied(open_stage: Any) -> None:
    stream = Scripted(batches(4), arrived=1)
    sources = watched(stream)
    stage = open_stage(stream, HostCopies())
    next(stage)

    assert 0 not in alive(sources)


def test_a_source_stays_until_the_device_has_done_with_it(open_stage: Any) -> None:
    host, stream = HostCopies(lags=True), Scripted(batches(6), arrived=1)
    sources = watched(stream)
    stage = open_stage(stream, host)
    for _ in range(3):
        next(stage)
    assert host.marks is not None
    before = alive(sources)
    host.marks[0].ended = host.marks[2].ended = True
    next(stage)
    after = alive(sources)
    for mark in host.marks:
        mark.ended = True

    assert before == [0, 1, 2, 4, 5] or before[:3] == [0, 1, 2]
    assert 0 not in after
    assert 1 in after
    assert 2 not in after


def test_closing_waits_for_a_device_that_is_nearly_done(open_stage: Any) -> None:
    host, stream = HostCopies(lags=True), Scripted(batches(1))
    stage = open_stage(stream, host)
    next(stage)
    assert host.marks is not None
    asked = 0

    def query() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    host.marks[0].query = query  # type: ignore[method-assign]
    stage.close()

    assert asked == 4


def test_closing_does_not_wait_for_ever_for_a_device_that_hangs(
    open_stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "END_S", 0.01)
    stream = Scripted(batches(1))
    stage = open_stage(stream, HostCopies(lags=True))
    next(stage)
    stage.close()

    assert stream.closed == 1


def test_what_failed_on_the_device_ends_all_the_same(open_stage: Any) -> None:
    host, stream = HostCopies(lags=True), Scripted(batches(1))
    stage = open_stage(stream, host)
    next(stage)
    assert host.marks is not None

    def query() -> bool:
        raise RuntimeError("an illegal memory access was encountered")

    host.marks[0].query = query  # type: ignore[method-assign]
    stage.close()

    assert stream.closed == 1


# -- epochs and ends


@pytest.mark.parametrize("used", [0, 1, 3])
def test_another_epoch_begins_in_the_middle_of_one(open_stage: Any, used: int) -> None:
    stage = open_stage(Scripted(batches(8)), HostCopies(marks=True))
    for _ in range(used):
        next(stage)
    stage.restart(iter([torch.full((4,), 10 + number) for number in range(3)]))

    assert firsts(stage) == [10, 11, 12]


def test_epochs_share_one_thread(open_stage: Any) -> None:
    host = HostCopies()
    stage = open_stage(Scripted(batches(2)), host)
    for _ in range(3):
        assert firsts(stage) == [0, 1]
        stage.restart(iter(batches(2)))

    assert host.entered == [THREAD_NAME]


def test_closing_ends_the_thread_and_the_stream(open_stage: Any) -> None:
    stream = Scripted(batches(5))
    stage = open_stage(stream, HostCopies())
    next(stage)
    stage.close()
    stage.close()

    assert stream.closed == 1
    assert THREAD_NAME not in [thread.name for thread in threading.enumerate()]


def test_a_stage_that_is_dropped_ends_its_thread() -> None:
    stage = CopiedAhead(Scripted(batches(5)), HostCopies(), 0)
    next(stage)
    del stage
    gc.collect()

    assert THREAD_NAME not in [thread.name for thread in threading.enumerate()]


# -- in place


class Plain:
    """A stream that is only asked."""

    def __init__(self, made: list[Any]) -> None:
        self._made = iter(made)
        self.closed = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._made)

    def restart(self, indices: Iterator[Any]) -> None:
        self._made = iter(indices)

    def close(self) -> None:
        self.closed = True


def test_in_place_the_trainer_copies_and_nothing_is_asked_ahead() -> None:
    host = HostCopies(marks=True)
    asked = []

    def made() -> Iterator[Tensor]:
        for batch in batches(3):
            asked.append(int(batch[0]))
            yield batch

    stage = CopiedInPlace(Plain([]), host)
    stage.restart(made())
    first = next(stage)

    assert (int(first[0]), asked) == (0, [0])
    assert host.threads == {threading.current_thread().name}
    assert host.entered == [], "the trainer keeps its own settings"
    assert [mark for mark, _, _ in host.received] == host.marks
    assert firsts(stage) == [1, 2]
    assert stage.ended


def test_in_place_an_exception_of_the_copy_is_the_classs_own() -> None:
    stage = CopiedInPlace(Plain([Unpinnable(), torch.ones(1)]), HostCopies())
    with pytest.raises(ValueError, match=r"^will not be pinned$"):
        next(stage)

    assert firsts(stage) == [1]


def test_in_place_of_workers_an_exception_is_told_as_torchs_thread_tells_it() -> None:
    stage = CopiedInPlace(Plain([Unpinnable()]), HostCopies(), as_from_thread=True)
    with pytest.raises(ValueError, match=r"^Caught ValueError in pin memory thread for device 0"):
        next(stage)


def test_in_place_closing_closes_the_stream() -> None:
    plain = Plain([])
    CopiedInPlace(plain, HostCopies()).close()

    assert plain.closed
