"""What the command line prints: cards on stdout, all else on stderr, plain where it is a file."""

import os
import shutil
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from wellfed.records import Remedy, Report

__all__ = ["card", "color", "compared", "speaks", "tell", "width"]


def card(report: "Report") -> None:
    """Print the card of a report, and that of its tuning if it has one."""
    from wellfed._report.text import render_text
    from wellfed._report.tuned import render_tuning

    typer.echo(render_text(report, width=width(), color=color()), nl=False)
    if report.tuning is not None:
        typer.echo(render_tuning(report, width=width(), color=color()), nl=False)


def compared(before: "Report", after: "Report", remedy: "Remedy | None" = None) -> None:
    """Print two runs side by side, beside what was predicted of the remedy between them."""
    from wellfed._report.compare import render_compare

    predicted = remedy.gain if remedy is not None else None
    typer.echo(render_compare(before, after, predicted, width=width(), color=color()), nl=False)


def width() -> int:
    """Columns of the terminal, 80 where it is none."""
    return min(100, shutil.get_terminal_size((80, 24)).columns) if sys.stdout.isatty() else 80


def color() -> bool:
    """Whether to write colours."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def tell(text: str) -> None:
    """A line on stderr: the script's own stdout stays its own."""
    typer.echo(text, err=True)


def speaks() -> bool:
    """Whether this process is the one that prints: rank 0 of a distributed run, or the only one."""
    return os.environ.get("RANK", "0") == "0"
