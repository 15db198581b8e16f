"""A page of text: labelled rows, wrapped with care, the same words with colour or without.

    ── wellfed ─────────────────────────────────────────── WF201 ──
    label      a line of text, wrapped between words and never
               between a number and its unit

Guarantees
- no line is wider than the page, but for a word of code that nothing can break
- without colour there is not one escape sequence, whatever the text holds, and no line ends in
  blanks
- without Unicode every character is ASCII
"""

import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import StringIO
from types import MappingProxyType
from typing import TypeAlias

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

__all__ = ["Page", "Part", "Sheet", "tie"]

Part: TypeAlias = str | tuple[str, str]
"""A piece of a line: text, or text and the name of its style in `STYLES`."""

STYLES: Mapping[str, str] = MappingProxyType(
    {
        "good": "bold green",
        "bad": "bold red",
        "unsure": "bold yellow",
        "waiting": "red",
        "yours": "green",
        "rest": "bright_black",
        "code": "bold cyan",
        "strong": "bold",
        "label": "bright_black",
        "small": "bright_black",
    }
)

GUTTER = 11
"""Columns before the text of a row: the longest label and two blanks."""

NARROWEST = 48
"""Below this nothing reads well; a narrower terminal folds the lines itself."""

_DOT, _ASCII_DOT = " ·", " |"

_TIE = "\N{NO-BREAK SPACE}"
"""Stands in for a blank at which a line must not end, until the page is written."""

_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")

_ASCII = str.maketrans(
    {
        "–": "-", "—": "-", "−": "-", "─": "-", "━": "=", "·": "|", "•": "*", "×": "x", "µ": "u",
        "±": "+-", "→": "->", "…": "...", "∞": "inf", "█": "#", "░": ".", "│": "|", "├": "|",
        "┤": "|", "●": "o", "‘": "'", "’": "'", "“": '"', "”": '"', "≈": "~", "≤": "<=", "≥": ">=",
    }
)  # fmt: skip

# Blanks at which a line may end. Not before a unit, which would part it from its number, and not
# before a dot, which would begin the next line with a separator.
_BREAK = re.compile(r" (?![·|]|(?:%|[kMGT]?B|ns|µs|us|ms|s|min|h)(?![\w/]*\w))")
# A file name may hold any of these; printed, they would move the cursor, colour the terminal, or
# turn the line around.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

_CODE_BREAK = re.compile(r"(?<=\S) (?=\S)")


@dataclass(frozen=True)
class Page:
    """What is written on."""

    width: int = 80
    """Columns."""
    color: bool = False
    """Whether to write ANSI colours."""
    unicode: bool = True
    """Whether "µ", "→" and block characters may be used; if not, ASCII stands in for them."""


def tie(words: str) -> str:
    """The words as one that is not broken over lines."""
    return words.replace(" ", _TIE)


class Sheet:
    """Collects lines and gives them back as one string.

    Args:
        page: what is written on.
        gutter: columns before the text of a row.
    """

    def __init__(self, page: Page, gutter: int = GUTTER) -> None:
        self.page = page
        self.width = max(page.width, NARROWEST)
        self.gutter = gutter
        self._lines: list[Text] = []

    @property
    def room(self) -> int:
        """Columns of a row after its gutter."""
        return self.width - self.gutter

    def plain(self, text: str) -> str:
        """The text in the characters that this page has, without control characters."""
        text = _CONTROL.sub("", text.expandtabs(4))
        # Bytes of a file name that are no UTF-8 come as lone surrogates, which cannot be printed.
        text = text.encode("utf-8", "backslashreplace").decode()
        if self.page.unicode:
            return text
        tied = text.translate(_ASCII).split(_TIE)
        return _TIE.join(part.encode("ascii", "backslashreplace").decode() for part in tied)

    def rule(self, left: str = "", right: str = "") -> None:
        """A line across the page, with words in it; the left ones go where both do not fit."""
        dash = self.plain("─")
        if cell_len(left) + cell_len(right) > self.width - len("──  ──  ──"):
            left = ""
        head = f"{dash * 2} {self.plain(left)} " if left else ""
        tail = f" {self.plain(right)} {dash * 2}" if right else ""
        fill = dash * (self.width - cell_len(head) - cell_len(tail))
        self._lines.append(Text.assemble((head + fill + tail, STYLES["rest"])))

    def blank(self) -> None:
        """An empty line."""
        self._lines.append(Text())

    def row(self, label: str, *parts: Part, hang: int = 0) -> None:
        """A label and its text, wrapped into the columns beside it.

        Args:
            label: what stands in the gutter of the first line.
            parts: the text.
            hang: extra columns before the second and later lines.
        """
        lines = _wrap(self._text(parts), self.room, self.room - hang)
        self._rows(label, [line if not i else _pad(hang, line) for i, line in enumerate(lines)])

    def flow(self, label: str, pieces: Iterable[Part]) -> None:
        """A label and short pieces in a row, dots between them; none is broken that fits a line."""
        parts: list[Part] = []
        for piece in pieces:
            words, style = (piece, "") if isinstance(piece, str) else piece
            kept = tie(words) if cell_len(words) < self.room else words
            parts += [f"{_DOT} ", (kept, style)] if parts else [(kept, style)]
        self.row(label, *parts)

    def bar(self, label: str, words: str, share: float, columns: int, style: str) -> None:
        """A label, words and a bar that fills that share of the columns."""
        eighths = round(share * columns * 8)
        blocks = "█" * (eighths // 8) + _EIGHTHS[eighths % 8]
        if not self.page.unicode:
            blocks = "#" * round(share * columns)
        self._rows(label, [Text.assemble(self.plain(words), (blocks, STYLES[style]))])

    def code(self, label: str, code: str, style: str = "code") -> None:
        """A label and text to paste, broken only where it still means the same.

        A line ends after a comma where it can; elsewhere at a blank, with a backslash, which
        Python and every shell read as "goes on below".
        """
        lines = [
            Text(line, style=STYLES.get(style, ""))
            for written in self.plain(code).splitlines()
            for line in _break_code(written, self.room)
        ]
        self._rows(label, lines)

    def __str__(self) -> str:
        """The page so far, each line ended."""
        console = Console(
            file=StringIO(),
            width=self.width,
            force_terminal=self.page.color,
            color_system="standard" if self.page.color else None,
            legacy_windows=False,
            _environ={},  # the page alone decides: NO_COLOR and COLUMNS are for the caller to read
        )
        with console.capture() as written:
            for line in self._lines:
                console.print(line, soft_wrap=True, highlight=False)
        return written.get().replace(_TIE, " ")

    def _text(self, parts: Iterable[Part]) -> Text:
        """The parts as one text, without the line breaks of whoever wrote them."""
        text = Text()
        for part in parts:
            words, style = (part, "") if isinstance(part, str) else part
            text.append(self.plain(words.replace("\n", " ")), STYLES.get(style, ""))
        return text

    def _rows(self, label: str, lines: Iterable[Text]) -> None:
        for i, line in enumerate(lines):
            head = self.plain(label) if not i else ""
            gap = " " * max(1, self.gutter - cell_len(head))
            row = Text.assemble((head, STYLES["label"]), gap, line)
            row.rstrip()
            self._lines.append(row)


def _wrap(text: Text, first: int, later: int) -> list[Text]:
    """Lines of at most so many columns; a word that is too long for any is cut."""
    plain = text.plain
    stops = [match.end() for match in _BREAK.finditer(plain)] + [len(plain)]
    cuts: list[int] = []
    begin = end = 0
    for stop in stops:
        room = later if cuts else first
        if cell_len(plain[begin:stop].rstrip()) > room and end > begin:
            cuts.append(end)
            begin, room = end, later
        while cell_len(plain[begin:stop].rstrip()) > room:
            begin += len(chop_cells(plain[begin:stop], room)[0])
            cuts.append(begin)
            room = later
        end = stop
    lines = list(text.divide(cuts))
    for line in lines:
        line.rstrip()
        if line is not lines[-1] and line.plain.endswith((_DOT, _ASCII_DOT)):
            line.right_crop(len(_DOT))
    return lines


def _break_code(code: str, room: int) -> list[str]:
    """The code in lines that still mean what it means; a comment at its end goes before it."""
    if cell_len(code) <= room:
        return [code]
    code, _, comment = code.partition("  # ")
    lines = textwrap.wrap(comment, room, initial_indent="# ", subsequent_indent="# ")
    while cell_len(code) > room:
        blanks = [at for at in _free_blanks(code) if at <= room - len(" \\")]
        if not blanks:
            break
        commas = [at for at in blanks if code[at - 1] == ","]
        at = (commas or blanks)[-1]
        lines.append(code[:at] if commas else f"{code[:at]} \\")
        code = code[at + 1 :]
    return [*lines, code]


def _free_blanks(code: str) -> list[int]:
    """Blanks between words of the code, outside its quoted strings."""
    return [
        match.start()
        for match in _CODE_BREAK.finditer(code)
        if all(code.count(quote, 0, match.start()) % 2 == 0 for quote in "\"'")
    ]


def _pad(columns: int, line: Text) -> Text:
    return Text.assemble(" " * columns, line)
