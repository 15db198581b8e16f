"""The live line is quick, quiet where nobody looks, and cannot hurt training."""

import io
import threading
from collections.abc import Iterator

import pytest
from rich.console import Console

from wellfed._report.live import Progress


class Broken(io.StringIO):
    """A terminal that went away."""

    def write(self, text: str) -> int:
        raise OSError("gone")


def terminal(file: io.StringIO, width: int = 80) -> Console:
    return Console(file=file, force_terminal=True, width=width, color_system=None, _environ={})


def ticks(step_s: float) -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += step_s


def update(progress: Progress, batches: int = 291) -> None:
    progress.update(
        batches, elapsed_s=41.2, limit_s=60, waiting_share=0.7, site="/home/ana/train.py:41"
    )


def test_the_line_says_how_far_it_is_and_what_is_seen() -> None:
    file = io.StringIO()
    with Progress(terminal(file)) as progress:
        update(progress)

    assert (
        "wellfed  291 batches · waiting for data 70 % · 41 of 60 s · train.py:41" in file.getvalue()
    )


def test_it_redraws_at_most_five_times_a_second() -> None:
    file = io.StringIO()
    clock = ticks(0.01)
    progress = Progress(terminal(file), clock=lambda: next(clock))
    for batch in range(100):
        update(progress, batch)

    assert file.getvalue().count("wellfed") == 5


def test_it_is_silent_where_stderr_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    progress = Progress()
    update(progress)
    progress.close()

    assert capsys.readouterr() == ("", "")


def test_a_terminal_that_breaks_never_reaches_training() -> None:
    progress = Progress(terminal(Broken()), clock=lambda: 0.0)
    update(progress)
    update(progress)
    progress.close()


def test_close_takes_the_line_away_and_may_come_twice() -> None:
    file = io.StringIO()
    progress = Progress(terminal(file))
    update(progress)
    progress.close()
    once = file.getvalue()
    progress.close()
    update(progress)

    assert once.endswith("\r\x1b[2K")
    assert file.getvalue() == once


def test_close_without_a_line_writes_nothing() -> None:
    file = io.StringIO()
    Progress(terminal(file)).close()

    assert file.getvalue() == ""


def test_the_line_never_fills_a_narrow_terminal() -> None:
    file = io.StringIO()
    update(Progress(terminal(file, width=40)))

    assert len(file.getvalue().rpartition("\x1b[2K")[2]) < 40


def test_it_starts_no_thread() -> None:
    before = threading.active_count()
    update(Progress(terminal(io.StringIO())))

    assert before == threading.active_count()
