"""Two places on a terminal where a panel is drawn again and again without flicker.

Whole   the alternate screen: what was there before comes back in the end
Below   the last lines; what others print scrolls in the lines above them

A frame is one write, and overwrites the one before line by line: nothing is cleared first. Whole is
rich's; it has nothing that stays below what another process writes, so Below is our own.
"""

import os
import sys
import termios
import tty
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

__all__ = ["Below", "Keys", "Screen", "Whole"]

# Lines that the script keeps above the panel.
SCRIPT_LINES = 6
PANEL_LINES = 24


class Screen(Protocol):
    """Where a panel is drawn."""

    @property
    def room(self) -> tuple[int, int]:
        """Columns and lines that a panel may have just now."""

    def draw(self, text: str) -> None:
        """Show it instead of what was there."""

    def close(self) -> None:
        """Leave the terminal as it was. Harmless when called twice."""


class Whole:
    """All of the terminal, for as long as it is looked at."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        # With a buffer of its own, so that a frame is one write.
        self._file = open(fd, "w", closefd=False)  # noqa: SIM115
        self._live = Live(
            console=Console(file=self._file, force_terminal=True),
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    @property
    def room(self) -> tuple[int, int]:
        """All of it."""
        columns, lines = os.get_terminal_size(self._fd)
        return columns, lines

    def draw(self, text: str) -> None:
        """From the upper left; what is below it is cleared."""
        self._live.update(Text.from_ansi(text, no_wrap=True), refresh=True)

    def close(self) -> None:
        """Back to what was there before."""
        self._live.stop()
        self._file.close()


class Below:
    """The last lines of the terminal; all others scroll as one that is so much shorter."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._size = (0, 0)
        self._taken = 0

    @property
    def room(self) -> tuple[int, int]:
        """So many lines that the script keeps some."""
        columns, lines = os.get_terminal_size(self._fd)
        return columns, max(0, min(PANEL_LINES, lines - SCRIPT_LINES))

    def draw(self, text: str) -> None:
        """At the bottom, with the cursor back where the script had it."""
        columns, lines = os.get_terminal_size(self._fd)
        rows = text.splitlines()[: self.room[1]]
        if self._size != (columns, lines) or self._taken < len(rows):
            self._take(columns, lines, len(rows))
        rows = [""] * (self._taken - len(rows)) + rows
        first = lines - self._taken + 1
        placed = "".join(f"\x1b[{first + at};1H{row}\x1b[K" for at, row in enumerate(rows))
        _write(self._fd, f"\x1b7{placed}\x1b8")

    def _take(self, columns: int, lines: int, wanted: int) -> None:
        self.close()
        # Scrolled first, so that nothing that stands at the bottom is overwritten.
        make_room = "\n" * wanted + f"\x1b[{wanted}A" if wanted else ""
        _write(self._fd, f"{make_room}\x1b7\x1b[1;{max(1, lines - wanted)}r\x1b8")
        self._size, self._taken = (columns, lines), wanted

    def close(self) -> None:
        """The panel is cleared, and all lines scroll again."""
        if self._taken:
            first = max(1, self._size[1] - self._taken + 1)
            _write(self._fd, f"\x1b7\x1b[r\x1b[{first};1H\x1b[J\x1b8")
            self._taken = 0


class Keys:
    """Makes single keys readable from the terminal on standard input, if that is one."""

    def __init__(self) -> None:
        self.fd: int | None = None
        """What to read them from; None if there are none."""
        self._before: list[Any] = []

    def __enter__(self) -> "Keys":
        if sys.stdin is not None and sys.stdin.isatty():
            self.fd = sys.stdin.fileno()
            self._before = termios.tcgetattr(self.fd)
            tty.setcbreak(self.fd)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.fd is not None:
            termios.tcsetattr(self.fd, termios.TCSADRAIN, self._before)
            self.fd = None


def _write(fd: int, text: str) -> None:
    data = text.encode()
    while data:
        data = data[os.write(fd, data) :]
