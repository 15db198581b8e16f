"""Where a thread spends its time is found by looking at it, and nothing of it is changed."""

import inspect
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from torch.utils.data import Dataset
from torch.utils.data._utils.fetch import _MapDatasetFetcher

from wellfed._engine.watch.hot_lines import MOST_LINES, HotLines

PATIENCE_S = 10.0


class Doing(Dataset[Any]):
    """A dataset that runs a function for its only sample."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work

    def __getitem__(self, index: int) -> object:
        return self.work()


@contextmanager
def thread_in(work: Callable[[], object]) -> Iterator[HotLines]:
    """A thread that fetches what `work` makes, and what looks at it."""
    made: list[HotLines] = []
    ready = threading.Event()

    def run() -> None:
        made.append(HotLines())
        ready.set()
        fetcher: Any = _MapDatasetFetcher  # has no types
        fetcher(Doing(work), False, lambda data: data, False).fetch(0)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(PATIENCE_S)
    try:
        yield made[0]
    finally:
        made[0].close()
        thread.join(PATIENCE_S)


def looks(hot: HotLines, found: Callable[[str, int], bool]) -> tuple[int, str, int]:
    """Look until a function and its locked samples are as wanted: its line, package and locks."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        hot.look()
        for file, line, function, library, _samples, locked in hot.take():
            if file == __file__ and found(function, locked):
                return line, library, locked
    raise AssertionError("it was never seen there")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
def test_a_wait_for_a_lock_is_told_with_its_line() -> None:
    lock = threading.Lock()

    def at_the_lock() -> None:
        with lock:  # here
            pass

    lock.acquire()
    try:
        with thread_in(at_the_lock) as hot:
            line, library, _ = looks(hot, lambda name, locked: name == "at_the_lock" and locked > 0)
            lock.release()
    finally:
        if lock.locked():
            lock.release()
    first = inspect.getsourcelines(at_the_lock)[1]
    assert line == first + 1
    assert library == ""


def test_a_wait_for_another_threads_result_is_no_lock() -> None:
    done = threading.Event()

    def for_a_result() -> None:
        done.wait(PATIENCE_S)

    with thread_in(for_a_result) as hot:
        seen = [looks(hot, lambda name, _: name == "for_a_result")[2] for _ in range(50)]
        done.set()

    assert sum(seen) == 0


def test_a_librarys_time_is_its_callers_and_the_library_is_named() -> None:
    done = threading.Event()

    def reckon() -> None:
        while not done.is_set():
            statistics.NormalDist(0, 1).samples(50, seed=1)

    with thread_in(reckon) as hot:
        line, library, _ = looks(hot, lambda name, _: name == "reckon")
        done.set()

    assert line in range(*[inspect.getsourcelines(reckon)[1] + n for n in (1, 3)])
    assert library == ""  # the standard library is not named: it is what everybody calls


def test_no_more_lines_are_kept_than_the_limit() -> None:
    done = threading.Event()
    code = "def f():\n" + "    x = 0\n" * 400 + "f()"
    compiled = compile(code, "many.py", "exec")

    def many() -> None:
        while not done.is_set():
            exec(compiled, {})

    with thread_in(many) as hot:
        looks(hot, lambda name, _: name == "many")
        for _ in range(2_000):
            hot.look()
        kept = len(hot._counts)
        done.set()

    assert 0 < kept <= MOST_LINES


def test_nothing_is_looked_at_between_fetches() -> None:
    done = threading.Event()

    with thread_in(lambda: done.wait(PATIENCE_S)) as hot:
        assert hot.take() == []
        done.set()
