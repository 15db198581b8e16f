"""A script is stopped at its next batch: cleaned up after, but never told that it failed."""

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import SCRIPTS, diagnose, line_marked
from torch.utils.data import DataLoader, TensorDataset

from wellfed._attach import Limits, Observation


def endless(loader: "DataLoader[Any]") -> Iterator[Any]:
    while True:
        yield from loader


@pytest.fixture
def loader() -> "DataLoader[Any]":
    return DataLoader(TensorDataset(torch.arange(40)), batch_size=4)


# -- which handlers run


def test_finally_and_with_run_and_handlers_that_save_do_not(tmp_path: Path) -> None:
    script = SCRIPTS / "saving.py"

    ours = diagnose(tmp_path, "--steps", "40", str(script))

    card, _, left = ours.out.partition("atexit\n")
    assert ours.out.startswith("with\nfinally\n")
    assert "VERDICT" in card
    assert left == ""
    assert ours.code in (0, 3)
    assert ours.said == ""
    assert str(ours.report.trace.site) == line_marked(script)
    assert ours.report.trace.ended_because == "stopped"
    assert len(ours.report.trace.spans) == 40


def test_what_a_script_raises_while_it_is_stopped_is_shown_and_not_its_failure(
    tmp_path: Path,
) -> None:
    ours = diagnose(tmp_path, "--steps", "40", str(SCRIPTS / "saving.py"), "fail")

    assert ours.code in (0, 3)
    assert "RuntimeError: while it was being stopped" in ours.said
    assert "wellfed/_" not in ours.said
    assert "raised this while it was being stopped" in ours.told
    assert ours.report.trace.ended_because == "stopped"


def test_a_script_that_swallows_everything_is_told_again(loader: "DataLoader[Any]") -> None:
    told = 0
    with Observation(Limits(steps=3)) as seen:
        for _ in range(4):
            try:
                for _ in endless(loader):
                    pass
            except BaseException:
                told += 1

    assert told == 4
    assert seen.ended_because == "stopped"
    assert seen.batches == 3


def test_exceptions_of_the_script_pass(loader: "DataLoader[Any]") -> None:
    seen = Observation(Limits(steps=100))

    def train() -> None:
        with seen:
            for _ in loader:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()

    assert seen.ended_because == "raised"
    assert seen.batches == 1


# -- limits


def test_a_time_limit_ends_a_script(loader: "DataLoader[Any]") -> None:
    with Observation(Limits(seconds=0.2)) as seen:
        for _ in endless(loader):
            pass

    assert seen.ended_because == "stopped"
    assert seen.batches > 0


def test_a_script_watched_in_full_runs_to_its_end(loader: "DataLoader[Any]") -> None:
    with Observation(Limits(steps=1, seconds=0.0, full=True)) as seen:
        delivered = sum(1 for _ in loader)

    assert delivered == seen.batches == 10
    assert seen.ended_because == "finished"


def test_steps_count_the_loader_that_matters(loader: "DataLoader[Any]") -> None:
    other = DataLoader(TensorDataset(torch.arange(2)), batch_size=1)
    turns = 0
    with Observation(Limits(steps=25)) as seen:
        while True:
            turns += 1
            for (batch,) in loader:
                torch.linalg.svd(torch.randn(60, 60) + batch.sum())
            for _ in other:
                pass

    assert turns == 3
    assert seen.batches == 25


# -- batches asked for in other threads


@pytest.mark.parametrize("timeout", [None, 0.05], ids=["for ever", "with a time-out"])
def test_a_thread_that_asks_for_batches_stops_the_script(
    loader: "DataLoader[Any]", capfd: pytest.CaptureFixture[str], timeout: float | None
) -> None:
    batches: queue.Queue[Any] = queue.Queue(maxsize=2)

    def prefetch() -> None:
        for batch in endless(loader):
            batches.put(batch)

    thread = threading.Thread(target=prefetch)
    with Observation(Limits(steps=5)) as seen:
        thread.start()
        while True:
            try:
                batches.get(timeout=timeout)
            except queue.Empty:
                continue
    thread.join(timeout=10)

    assert not thread.is_alive()
    assert seen.ended_because == "stopped"
    assert seen.batches >= 5
    assert capfd.readouterr().err == ""


def test_a_script_is_not_interrupted_in_the_midst_of_its_work(loader: "DataLoader[Any]") -> None:
    """A checkpoint is written to its end, though time is up and another thread asks for data."""
    batches: queue.Queue[Any] = queue.Queue(maxsize=2)
    written: list[str] = []

    def prefetch() -> None:
        for batch in endless(loader):
            batches.put(batch)

    thread = threading.Thread(target=prefetch)
    with Observation(Limits(steps=5)) as seen:
        thread.start()
        while True:
            batches.get()
            written.append("begun")
            deadline = time.perf_counter() + 0.05
            while time.perf_counter() < deadline:
                pass
            written.append("ended")
    thread.join(timeout=10)

    assert not thread.is_alive()
    assert seen.ended_because == "stopped"
    assert written[-1] == "ended"


def test_a_thread_that_is_watched_itself_is_stopped_alone(loader: "DataLoader[Any]") -> None:
    seen = Observation(Limits(steps=5))

    def train() -> None:
        with seen:
            for _ in endless(loader):
                pass

    thread = threading.Thread(target=train)
    thread.start()
    thread.join(timeout=30)

    assert not thread.is_alive()
    assert seen.ended_because == "stopped"
    assert seen.batches == 5
