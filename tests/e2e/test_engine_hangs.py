"""A batch that does not come: the error, or the log, says who is to make it, and at which line."""

import contextlib
import gc
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fault_jobs import Numbers, begun, firsts
from torch import Tensor

from wellfed._engine import silence
from wellfed.records import Plan

THREADS = Plan(backend="processes", workers=1, prefetch=2, threads=4)


@dataclass(frozen=True)
class Hanging(Numbers):
    """One sample waits until somebody writes to a FIFO."""

    file: Path = Path("/dev/null")

    def __getitem__(self, index: int) -> Tensor:
        if index == 9:
            self.file.read_bytes()
        return super().__getitem__(index)


@dataclass(frozen=True)
class Blocked:
    """A function that waits until somebody writes to a FIFO."""

    file: Path

    def __call__(self, _: Any) -> None:
        self.file.read_bytes()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """A FIFO. Nobody waits for it at the end: a worker that hangs is killed after 2 s only."""
    os.mkfifo(tmp_path / "fifo")
    yield tmp_path / "fifo"
    go_on(tmp_path / "fifo")
    gc.collect()


def go_on(file: Path) -> None:
    with contextlib.suppress(OSError):  # nobody waits
        os.close(os.open(file, os.O_WRONLY | os.O_NONBLOCK))


def timed_out(iterator: Any) -> str:
    """What the error's note says."""
    with pytest.raises(RuntimeError, match=r"^DataLoader timed out after 1 seconds") as caught:
        list(iterator)
    return "".join(getattr(caught.value, "__notes__", str(caught.value)))


def line_of(code: Callable[..., Any], nth: int) -> str:
    return f"{__file__}:{code.__code__.co_firstlineno + nth} in {code.__code__.co_name}"


def test_a_timeout_names_the_sample_and_the_line(file: Path) -> None:
    said = timed_out(begun(Hanging(file=file), timeout=1))

    assert "Waiting for batch 2. Worker " in said
    assert "is at sample 9 of batch 2" in said
    assert f"at {line_of(Hanging.__getitem__, 2)}" in said


def test_a_timeout_names_the_line_of_a_thread(file: Path) -> None:
    said = timed_out(begun(Hanging(file=file), timeout=1, plan=THREADS, thread_safe=True))

    assert "of batch 2" in said
    assert f"at {line_of(Hanging.__getitem__, 2)}" in said


@pytest.mark.parametrize("option", ["worker_init_fn", "collate_fn"])
def test_a_timeout_names_other_code_of_the_users(option: str, file: Path) -> None:
    iterator = begun(Numbers(), timeout=1, num_workers=1, batch_size=100, **{option: Blocked(file)})

    said = timed_out(iterator)

    assert said.startswith("Waiting for batch 0. Worker 0 (pid ")
    assert f", at {line_of(Blocked.__call__, 1)}" in said


def test_a_second_timeout_names_it_again(file: Path) -> None:
    iterator = begun(Hanging(file=file), timeout=1)

    assert line_of(Hanging.__getitem__, 2) in timed_out(iterator)
    assert line_of(Hanging.__getitem__, 2) in timed_out(iterator)


class Unblocks(logging.Handler):
    """Lets a worker go on when something is logged."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
        go_on(self.file)


def test_a_long_silence_is_told_once_and_waited_through(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "LEAST_S", 0.3)
    monkeypatch.setattr(silence, "USUAL_TIMES", 0)
    handler = Unblocks(file)
    log = logging.getLogger("wellfed")
    log.addHandler(handler)
    try:
        got = firsts(begun(Hanging(file=file)))
    finally:
        log.removeHandler(handler)

    assert got == [4.0 * number for number in range(25)]
    (said,) = handler.said
    assert said.startswith("No batch has come for long. Waiting for batch 2. Worker ")
    assert "is at sample 9 of batch 2" in said
    assert line_of(Hanging.__getitem__, 2) in said
