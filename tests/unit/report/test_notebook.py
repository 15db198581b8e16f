"""In a notebook a report is its card, and progress a line that is replaced."""

import re
import sys
import types
from typing import Any

import pytest
from rich.text import Text

import wellfed
from recorded import NAMES, recorded
from wellfed._report.live import Progress
from wellfed._report.notebook import NotebookProgress, in_notebook
from wellfed._report.view import view


class Handle:
    """What IPython's `display` gives back."""

    def __init__(self, shown: list[str]) -> None:
        self._shown = shown

    def update(self, one: Text) -> None:
        self._shown.append(one._repr_mimebundle_([], [])["text/plain"].strip())


class ZMQInteractiveShell:
    """The shell of a Jupyter kernel, by its name."""


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A notebook: all that was displayed below the cell, one after the other."""
    lines: list[str] = []
    package: Any = types.ModuleType("IPython")
    package.get_ipython = ZMQInteractiveShell
    package.display = types.ModuleType("IPython.display")

    def display(one: Text, *, display_id: bool) -> Handle:
        assert display_id
        handle = Handle(lines)
        handle.update(one)
        return handle

    package.display.display = display
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", package.display)
    return lines


@pytest.mark.parametrize("name", NAMES)
def test_a_report_shows_itself_without_script_or_network(name: str) -> None:
    report = recorded(name)

    shown = report._repr_html_()

    assert view(report).title.replace("'", "&#39;") in shown
    assert not re.search(r"<script|<link|<img|url\(|https?://|@import|\bon\w+=", shown)
    assert len(shown) < 12_000


def test_progress_is_one_line_that_is_replaced_and_then_taken_away(shown: list[str]) -> None:
    progress = NotebookProgress()
    progress.update(10, 1.2, 60.0, 0.7, "/home/ana/train.py:41")
    progress.update(20, 2.4, float("inf"), 0.6, "/home/ana/train.py:41")
    progress.close()
    progress.close()
    progress.update(30, 3.6, 60.0, 0.5, "")

    assert shown == [
        "wellfed  10 batches · waiting for data 70 % · 1 of 60 s · train.py:41",
        "wellfed  20 batches · waiting for data 60 % · 2 s · train.py:41",
        "",
    ]


def test_a_notebook_that_cannot_display_never_reaches_training() -> None:
    progress = NotebookProgress()
    progress.update(10, 1.2, 60.0, 0.7, "")  # there is no IPython
    progress.close()


@pytest.mark.usefixtures("shown")
def test_a_kernel_is_a_notebook_and_this_is_none_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert in_notebook()

    monkeypatch.setitem(sys.modules, "IPython", None)

    assert not in_notebook()


def test_who_asks_for_progress_gets_that_of_where_it_runs(
    shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = wellfed.observe(progress=True)
    monkeypatch.setitem(sys.modules, "IPython", None)
    there = wellfed.observe(progress=True)

    assert isinstance(here._progress, NotebookProgress)
    assert isinstance(there._progress, Progress)
    assert wellfed.observe()._progress is None
    assert shown == []
