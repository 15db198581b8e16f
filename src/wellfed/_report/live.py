"""One line on stderr while a script is watched.

    wellfed  291 batches · waiting for data 70 % · 41 of 60 s · train.py:41

Guarantees
- silent where stderr is not a terminal
- never raises into the training script: a line that cannot be drawn is the last one tried
- no thread, no hidden cursor, nothing in place of `sys.stdout`: what the script prints, and its own
  progress bar, pass untouched; `rich.live.Live` would redirect or hide them
"""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from math import isfinite
from types import TracebackType

from rich.cells import set_cell_size
from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from wellfed.records.amounts import share

__all__ = ["Progress", "words_of"]

# Five redraws a second look live; each costs the training loop about half a millisecond.
PERIOD_S = 0.2


def words_of(
    batches: int, elapsed_s: float, limit_s: float, waiting_share: float, site: str
) -> str:
    """How far the watching is, and what it has seen so far; see `Progress.update`."""
    of = f" of {limit_s:.0f}" if isfinite(limit_s) else ""
    return (
        f"{batches} batches · waiting for data {share(waiting_share)} · {elapsed_s:.0f}{of} s · "
        f"{site.rpartition('/')[2]}"
    )


class Progress:
    """Shows how far the watching is. One per run, called from the training loop.

    Args:
        console: where to draw; stderr if not given.
        clock: monotonic seconds.
    """

    def __init__(
        self, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        # Asked here, because with FORCE_COLOR set rich takes a log file for a terminal.
        seen = sys.stderr is not None and sys.stderr.isatty()
        self._console = console or Console(stderr=True, force_terminal=seen)
        self._clock = clock
        self._next_s = float("-inf")
        self._on = self._console.is_terminal and not self._console.is_dumb_terminal
        self._drawn = False

    def update(
        self, batches: int, elapsed_s: float, limit_s: float, waiting_share: float, site: str
    ) -> None:
        """Draw the line anew, if the last one is old enough.

        Args:
            batches: batches seen so far.
            elapsed_s: seconds watched so far.
            limit_s: seconds after which watching ends; infinite if it does not.
            waiting_share: share of the time the trainer waited for data, 0 to 1.
            site: file and line of the loader.
        """
        if not self._on:
            return
        now = self._clock()
        if now < self._next_s:
            return
        self._next_s = now + PERIOD_S
        try:
            self._draw(words_of(batches, elapsed_s, limit_s, waiting_share, site))
        except Exception:
            self._on = False

    def close(self) -> None:
        """Take the line away. Harmless when called twice, and without any line drawn."""
        if self._on and self._drawn:
            with suppress(Exception):
                self._clear()
        self._on = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _draw(self, words: str) -> None:
        self._clear()
        # One column less than there is: a full line would wrap, and could not be cleared.
        room = self._console.width - len("wellfed  ") - 3
        line = set_cell_size(words, room).rstrip() + "  "
        self._console.print(
            Text.assemble(("wellfed  ", "bold cyan"), (line, "bright_black")),
            end="",
            soft_wrap=True,
            highlight=False,
        )
        self._console.file.flush()
        self._drawn = True

    def _clear(self) -> None:
        self._console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))
