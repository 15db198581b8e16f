"""A report as a card of text: for a terminal, a log file, a chat window.

The order is the reader's: what is wrong, how large it is, how that is known, what to paste, what
not to bother with; and last, small, what it all rests on.
"""

import ast
from dataclasses import dataclass

from wellfed._report.figures import Advice, Bar, Card, Row, Split
from wellfed._report.sheet import Page, Part, Sheet, tie
from wellfed._report.view import NOISE, view
from wellfed.records import Estimate, Report, amounts

__all__ = ["TextRenderer", "render_text"]

BAR_MOST = 30
"""Columns of a bar at most: longer ones say nothing more."""

COLUMN_LEAST = 32
"""Columns below which text is no column any more but a ragged strip."""


@dataclass(frozen=True)
class TextRenderer:
    """Shows a report as a card of text. Implements `seams.Renderer`."""

    width: int = 80
    color: bool = False
    unicode: bool = True

    def render(self, report: Report) -> str:
        """The card, each line ended, none wider than `width`."""
        page = Page(width=self.width, color=self.color, unicode=self.unicode)
        return draw(view(report), page)


def render_text(
    report: Report, *, width: int = 80, color: bool = False, unicode: bool = True
) -> str:
    """A report as a card of text.

    Args:
        report: what to show.
        width: columns of the page.
        color: whether to write ANSI colours.
        unicode: whether the reader's terminal can show more than ASCII.
    """
    return TextRenderer(width=width, color=color, unicode=unicode).render(report)


def draw(card: Card, page: Page) -> str:
    """The card on the page."""
    sheet = Sheet(page)
    sheet.rule(f"wellfed {card.wellfed_version}", f"{card.code} {card.name}".strip())
    sheet.blank()
    _verdict(sheet, card)
    if card.split:
        sheet.blank()
        _step(sheet, card.split, card.ceiling)
    if card.bars:
        sheet.blank()
        _bars(sheet, card.bars)
    if card.evidence:
        sheet.blank()
        sheet.flow("evidence", card.evidence)
    if card.proof:
        sheet.blank()
        _table(sheet, "proof", card.proof)
    sheet.blank()
    _loader(sheet, card)
    for number, advice in enumerate(card.advice):
        sheet.blank()
        _advice(sheet, "or" if number else "DO", advice)
    if card.not_worth:
        sheet.blank()
        _table(sheet, "not worth", card.not_worth)
    if card.also:
        sheet.blank()
        _table(sheet, "also", card.also)
    if card.untested:
        sheet.blank()
        for place, row in enumerate(card.untested):
            label = "" if place else "not tested"
            sheet.row(label, f"{row.text}: ", (row.label, "small"))
    sheet.blank()
    _small_print(sheet, card.small_print)
    sheet.rule()
    return str(sheet)


def _verdict(sheet: Sheet, card: Card) -> None:
    parts: list[Part] = [(card.title, card.tone)]
    if card.confidence is not None:
        # A score, not a chance: so no "per cent sure".
        parts.append((" · " + tie(f"confidence {min(0.99, card.confidence):.2f}"), "small"))
    sheet.row("VERDICT", *parts)
    sheet.row("", card.headline)


def _step(sheet: Sheet, split: Split, ceiling: Estimate | None) -> None:
    whole, waiting, yours = amounts.parts(split.period, split.waiting, split.yours)
    sheet.row(
        "step",
        (whole, "strong"),
        " = ",
        (tie(f"{waiting} waiting for data"), "waiting"),
        " + ",
        (tie(f"{yours} yours"), "yours"),
    )
    pieces = [f"{split.samples_per_s:,.0f} samples/s"] if split.samples_per_s else []
    if ceiling:
        pieces.append(_ceiling(ceiling))
    if pieces:
        sheet.flow("", pieces)


def _ceiling(ceiling: Estimate) -> str:
    if ceiling.value < 1 + NOISE:
        return "no faster even if data were free"
    most, interval = amounts.gain(ceiling.value), amounts.gain_between(ceiling)
    return f"at most {most} if data were free ({interval})"


def _bars(sheet: Sheet, bars: tuple[Bar, ...]) -> None:
    longest = max(len(bar.label) for bar in bars)
    label = "time"
    for bar in bars:
        words = (
            f"{bar.label:<{longest}} {amounts.duration(bar.seconds):>7}  "
            f"{amounts.share(bar.share):>6}  "
        )
        sheet.bar(label, words, bar.share, min(BAR_MOST, sheet.room - len(words)), bar.role)
        label = ""


def _loader(sheet: Sheet, card: Card) -> None:
    if card.site:
        sheet.row("loader", _elide(card.site, sheet.room))
    sheet.code("" if card.site else "loader", card.call, style="")


def _elide(path: str, room: int) -> str:
    """The path, less the leading folders that do not fit: its end says where to go."""
    folders = path.split("/")
    while len(path) > room and len(folders) > 1:
        folders = folders[1:]
        path = "/".join(("…", *folders))
    return path


def _advice(sheet: Sheet, label: str, advice: Advice) -> None:
    if _is_code(advice.change):
        sheet.code(label, advice.change)
    else:
        sheet.row(label, (advice.change, "code"))
    promises: list[Part] = [(advice.gain, "strong")] if advice.gain else []
    promises += advice.side_effects
    if promises:
        sheet.flow("", promises)
    if advice.why:
        sheet.row("", (advice.why, "small"))


def _table(sheet: Sheet, label: str, rows: tuple[Row, ...]) -> None:
    """Rows in three columns; on a narrow page the text goes below its label and amount."""
    first = max(len(row.label) for row in rows)
    second = max(len(row.amount) for row in rows)
    hang = first + second + 4
    for row in rows:
        head = f"{row.label:<{first}}  {row.amount:<{second}}"
        if sheet.room - hang >= COLUMN_LEAST:
            sheet.row(label, f"{head}  ", (row.text, "small"), hang=hang)
        else:
            sheet.row(label, head)
            sheet.row("", ("  " + row.text, "small"), hang=2)
        label = ""


def _small_print(sheet: Sheet, rows: tuple[Row, ...]) -> None:
    before = ""
    for row in rows:
        sheet.row("" if row.label == before else row.label, (row.text, "small"))
        before = row.label


def _is_code(change: str) -> bool:
    """Whether it can be pasted as it is, and is not a sentence about what to do."""
    try:
        ast.parse(change)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # also of what is no text
        return False
    return True
