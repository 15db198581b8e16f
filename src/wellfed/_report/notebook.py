"""What a notebook shows: a report as its card in HTML, and progress as a line that is replaced.

The card is markup and styles alone: no script, nothing from elsewhere. It takes the notebook's own
ink, and colours that are read on light and on dark paper: its theme need not be the system's.
"""

import sys
from contextlib import suppress
from typing import Any

from rich.text import Text

from wellfed._report.html import card_parts, template
from wellfed._report.live import words_of
from wellfed.records import Report

__all__ = ["NotebookProgress", "card_html", "in_notebook"]


def card_html(report: Report) -> str:
    """The card of a report, as a piece of HTML that can stand in any page."""
    return template("card.html.j2").render(card_parts(report))


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this."""
    ask = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = ask() if ask is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


class NotebookProgress:
    """Shows below the cell how far the watching is. An `_attach.observation.Watcher`."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._on = True

    def update(
        self, batches: int, elapsed_s: float, limit_s: float, waiting_share: float, site: str
    ) -> None:
        """Show it instead of what was shown before; never raises."""
        if not self._on:
            return
        line = Text.assemble(
            ("wellfed  ", "bold cyan"), words_of(batches, elapsed_s, limit_s, waiting_share, site)
        )
        try:
            self._show(line)
        except Exception:
            self._on = False

    def close(self) -> None:
        """Take the line away. Harmless when called twice."""
        if self._on and self._handle is not None:
            with suppress(Exception):
                self._handle.update(Text(""))
        self._on = False

    def _show(self, line: Text) -> None:
        if self._handle is not None:
            self._handle.update(line)
            return
        from IPython.display import display

        self._handle = display(line, display_id=True)
