"""Runs scripts as a user would, with and without wellfed, and says what came of it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from wellfed.records import Report, Span, load

SCRIPTS = Path(__file__).with_name("scripts")
PATIENCE_S = 90


class Ran(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    said: str
    """What it wrote to stderr, less wellfed's own lines."""
    told: str
    """Wellfed's own lines on stderr."""
    file: Path
    """Where the report was to be saved."""

    @property
    def report(self) -> Report:
        return load(self.file)


def environment() -> dict[str, str]:
    """One thread for each process: the tests run on few cores."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def run(
    command: list[str], cwd: Path, file: Path | None = None, env: dict[str, str] | None = None
) -> Ran:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**environment(), **(env or {})},
        timeout=PATIENCE_S,
        check=False,
    )
    lines = done.stderr.splitlines(keepends=True)
    ours = [line for line in lines if line.startswith("wellfed")]
    return Ran(
        done.returncode,
        done.stdout,
        "".join(line for line in lines if line not in ours),
        "".join(ours),
        file or cwd / "none",
    )


def command_of(folder: Path, *words: str) -> list[str]:
    """`wellfed diagnose --json ... words`"""
    options = ["--json", str(folder / "report.json")]
    return [sys.executable, "-m", "wellfed", "diagnose", *options, *words]


def diagnose(folder: Path, *words: str) -> Ran:
    """`wellfed diagnose --json ... words`, run in that folder."""
    return run(command_of(folder, *words), folder, folder / "report.json")


def python(folder: Path, *words: str) -> Ran:
    """`python words`, run in that folder."""
    return run([sys.executable, *words], folder)


def line_marked(file: str | Path, mark: str = "# here") -> str:
    """The only line of the file with that mark, as a report names it."""
    lines = Path(file).read_text().splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if line.endswith(mark)]
    return f"{file}:{number}"


def heard(spans: tuple[Span, ...]) -> int:
    """How many of the batches came with a note of their maker."""
    return sum(span.fetch_ns > 0 for span in spans)
