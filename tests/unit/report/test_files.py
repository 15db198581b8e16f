"""A saved report becomes a page or a timeline, without torch; what cannot be is said at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from recorded import TRACES

SAVED = str(TRACES / "remote.json.gz")


def report(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return wellfed(folder, "report", *words)


def wellfed(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; from wellfed._cli import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_it_is_written_as_asked_and_said_how_to_open(tmp_path: Path) -> None:
    ran = report(tmp_path, SAVED, "--html", "page.html", "--timeline", "line.json.gz")

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "False\n"  # no card, and no torch
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "line.json.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert "the page is in page.html" in ran.stderr
    assert "ui.perfetto.dev" in ran.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--html", "none/page.html"], "cannot write none/page.html"),
        (["--profile", "x.json"], "give --timeline FILE as well"),
        (["--timeline", "line.json", "--profile", "x.json"], "cannot read a trace from x.json"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, words: list[str], sentence: str) -> None:
    ran = report(tmp_path, SAVED, *words)

    assert ran.returncode == 2
    assert sentence in ran.stderr


# Samples a second: 90 and 370.
SLOW, FAST = str(TRACES / "uneven_batches.json.gz"), str(TRACES / "remote.json.gz")


def test_two_reports_are_compared_without_torch(tmp_path: Path) -> None:
    ran = wellfed(tmp_path, "compare", SLOW, FAST, "--html", "both.html")

    assert ran.returncode == 0, ran.stderr
    assert "before and after" in ran.stdout
    assert "num_workers" in ran.stdout
    assert ran.stdout.endswith("False\n")
    assert "What differs" in (tmp_path / "both.html").read_text()


@pytest.mark.parametrize(
    ("first", "second", "share", "code"),
    [
        (FAST, SLOW, "5%", 4),
        (SLOW, FAST, "0.05", 0),
        (SLOW, SLOW, "5 %", 0),
        (FAST, SLOW, "90%", 0),
    ],
)
def test_a_pipeline_fails_where_it_became_slower(
    tmp_path: Path, first: str, second: str, share: str, code: int
) -> None:
    ran = wellfed(tmp_path, "compare", first, second, "--fail-if-slower", share)

    assert ran.returncode == code, ran.stdout


@pytest.mark.parametrize("share", ["five", "-1", "100%", ""])
def test_a_share_that_is_none_is_usage(tmp_path: Path, share: str) -> None:
    ran = wellfed(tmp_path, "compare", SLOW, FAST, "--fail-if-slower", share)

    assert ran.returncode == 2
    assert "is no share" in ran.stderr
