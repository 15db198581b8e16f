"""Deaths that cannot be made good: torch's error at once, and none of the others left behind."""

import itertools
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fault_jobs import (
    PATIENCE_S,
    Dying,
    Numbers,
    Once,
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
from torch.utils.data import IterableDataset, get_worker_info

import wellfed
from wellfed.records import Plan

DIED = r"DataLoader worker \(pid\(s\) \d+(, \d+)*\) exited unexpectedly"
# Torch looks after its workers every 5 s.
AT_ONCE_S = 3.0

THREADS = Plan(backend="processes", workers=2, prefetch=2, threads=8)


def fails_at_once(iterator: Any, match: str = "") -> RuntimeError:
    """The error that the rest of the epoch ends in."""
    began_s = time.monotonic()
    with pytest.raises(RuntimeError, match=DIED + match) as raised:
        list(iterator)
    assert time.monotonic() - began_s < AT_ONCE_S
    return raised.value


# -- a batch that kills


@pytest.mark.parametrize("options", [{}, {"plan": THREADS, "thread_safe": True}])
@pytest.mark.parametrize("at", [0, 21])
@pytest.mark.parametrize("how", [kill, crash, leave, ask_to_leave, leave_in_peace])
def test_a_batch_that_two_workers_died_of_is_told_with_its_samples(
    how: Callable[[], None], at: int, options: dict[str, Any]
) -> None:
    iterator = begun(Dying(how=how, at=at), **options)

    fails_at_once(iterator, rf"\..* made batch {at // 4} of samples \[.*\b{at}\b.*\]")
    fails_at_once(iterator)


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


def test_workers_that_die_as_soon_as_they_are_there_are_not_started_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from wellfed._engine import worker

    monkeypatch.setattr(worker, "_keep_freed_memory", kill)

    fails_at_once(begun(Numbers()), r"\. Workers die faster than they make batches")


# -- datasets that have a state


class Counting(Dying):
    """Counts its samples."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        object.__setattr__(self, "counted", 0)

    def __getitem__(self, index: int) -> Any:
        object.__setattr__(self, "counted", self.counted + 1)  # type: ignore[attr-defined]
        return super().__getitem__(index) + self.counted  # type: ignore[attr-defined]


class Generating(Dying):
    """Draws from a generator of its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        object.__setattr__(self, "generator", np.random.default_rng(7))

    def __getitem__(self, index: int) -> Any:
        return super().__getitem__(index) + self.generator.random()  # type: ignore[attr-defined]


class Asking(Dying):
    """Asks which worker it is in."""

    def __getitem__(self, index: int) -> Any:
        info = get_worker_info()
        assert info is not None
        return super().__getitem__(index) + info.id


class Streamed(IterableDataset[Any]):
    """Ends its process at one sample."""

    def __init__(self, how: Callable[[], None]) -> None:
        self.how = how

    def __iter__(self) -> Iterator[Any]:
        for number in range(100):
            if number == 50:
                self.how()
            yield torch.tensor([float(number)])


def do_nothing(worker: int) -> None:
    pass


@pytest.mark.parametrize(
    ("kind", "options", "because"),
    [
        (Counting, {}, "fetching a sample changes the dataset"),
        (Generating, {}, "the dataset holds a Generator of its own"),
        (Asking, {}, "a sample asks which worker it is in"),
        (Streamed, {}, "the dataset is iterable"),
        (Dying, {"worker_init_fn": do_nothing}, "worker_init_fn may make the workers differ"),
    ],
)
def test_a_worker_whose_state_is_lost_is_not_guessed_at(
    kind: Callable[..., Any], options: dict[str, Any], because: str, tmp_path: Path
) -> None:
    dying = kind(how=Once(kill, str(tmp_path / "done")))

    iterator = begun(dying, **options)

    fails_at_once(iterator, rf"\. Its batches cannot be made again, because {because}")
    fails_at_once(iterator)


def test_what_came_before_a_death_is_delivered_first() -> None:
    batches = begun(Streamed(how=leave), num_workers=1)
    got = firsts(itertools.islice(batches, 12))

    assert got == [4.0 * number for number in range(12)]
    fails_at_once(batches)


class Waiting(Generating):
    """Waits at one sample until a file is there."""

    def __init__(self, file: Path, **options: Any) -> None:
        super().__init__(**options)
        object.__setattr__(self, "file", file)

    def __getitem__(self, index: int) -> Any:
        while index == self.at and not self.file.exists():  # type: ignore[attr-defined]
            time.sleep(0.001)
        return super().__getitem__(index)


def test_a_death_that_is_seen_with_the_last_news_is_told_without_waiting_for_more(
    tmp_path: Path,
) -> None:
    dataset = Waiting(tmp_path / "never", how=do_nothing_at_all, at=4)
    batches = begun(dataset, prefetch_factor=1)
    next(batches)  # batch 2 goes to worker 0, and worker 1 is at batch 1
    crew = batches._stream._crew
    worker = crew.members[0]
    while worker.page.held() or worker.unsent:
        time.sleep(0.001)
    dead = batches._workers[1]
    os.kill(dead, signal.SIGKILL)
    assert gone([dead])

    fails_at_once(batches)


def test_persistent_workers_that_died_stay_dead() -> None:
    loader = wellfed.DataLoader(Dying(), batch_size=4, num_workers=2, persistent_workers=True)
    fails_at_once(iter(loader))

    with pytest.raises(RuntimeError, match=DIED):
        iter(loader)


def test_a_loader_may_be_iterated_again_after_a_death() -> None:
    of: Any = wellfed.DataLoader(Streamed(how=do_nothing_at_all), batch_size=4, num_workers=1)
    batches: Any = iter(of)
    os.kill(batches._workers[0], signal.SIGKILL)
    assert gone(batches._workers[:1])
    fails_at_once(batches)

    assert firsts(of) == [4.0 * number for number in range(25)]


def do_nothing_at_all() -> None:
    pass


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


def test_a_worker_is_not_replaced_where_the_template_is_dead() -> None:
    iterator = begun(Numbers(length=4_000))
    next(iterator)
    workers = iterator._workers
    os.kill(workers[0], signal.SIGKILL)
    os.kill(template_of(iterator), signal.SIGKILL)
    assert gone(workers)

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
    iterator = begun(Streamed(how=leave))
    pids = list(iterator._workers)
    fails_at_once(iterator)

    assert iterator._workers == pids
    assert not any(worker.is_alive() for worker in iterator._workers)
    assert {worker.exitcode for worker in iterator._workers} <= {3, 0, None}
