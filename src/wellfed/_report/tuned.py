"""What tuning found, as a card: the line to paste, what it gained, and why the others lost."""

from wellfed._report.sheet import Page, Sheet, tie
from wellfed._report.trials import TrialTable, rate_unit, trial_table
from wellfed.records import Answer, Measured, Report, Tuning
from wellfed.records.amounts import duration, gain, gain_between, size

__all__ = ["render_tuning"]


def render_tuning(
    report: Report, *, width: int = 80, color: bool = False, unicode: bool = True
) -> str:
    """The tuning in a report as a card of text.

    Args:
        report: a report with a tuning.
        width: columns of the page.
        color: whether to write ANSI colours.
        unicode: whether the reader's terminal can show more than ASCII.
    """
    tuning = report.tuning
    if tuning is None:
        return ""
    page = Page(width=width, color=color, unicode=unicode)
    sheet = Sheet(page, gutter=11)
    tried = sum(isinstance(one.outcome, Measured) for one in tuning.trials)
    sheet.rule("wellfed", f"{tried} settings tried in {duration(tuning.spent_s)}")
    per, unit = rate_unit(report)
    for answer in tuning.answers:
        sheet.blank()
        _answer(sheet, answer, tuning, per, unit)
    if tuning.interrupted:
        sheet.row("", ("interrupted: these are the best so far", "unsure"))
    table = trial_table(report)
    return str(sheet) + (_table(table, page) if table is not None else "")


IMPORTS = {
    "torch": "from torch.utils.data import DataLoader",
    "wellfed": "from wellfed import DataLoader",
}


def _answer(sheet: Sheet, answer: Answer, tuning: Tuning, per: float, unit: str) -> None:
    stays = answer.plan == tuning.present
    speed = f"{per / answer.seconds.value:,.0f} {unit}"
    if stays:
        sheet.row(answer.loader, ("your settings are the best", "good"), f" · {speed}")
    else:
        tone = "good" if answer.gain.low > 1 else "unsure"
        won = f"{gain(answer.gain.value)} measured, {gain_between(answer.gain)}"
        sheet.row(answer.loader, (won, tone), f" · {speed}")
    sheet.code("", IMPORTS[answer.loader], style="small")
    sheet.code("", f"DataLoader(..., {answer.change})")
    told = [answer.why]
    if answer.peak_bytes is not None:
        told.append(f"workers' memory {size(answer.peak_bytes)}")
    sheet.flow("", told)


def _table(table: TrialTable, page: Page) -> str:
    """Two lines for each setting: its numbers; what became of it, and what the machine says."""
    sheet = Sheet(page, gutter=2)
    sheet.blank()
    columns = list(zip(table.heads, *(one.cells for one in table.rows), strict=True))
    shown = _fitting([column for column in columns if any(column[1:])], sheet.room)
    widths = [max(len(cell) for cell in column) for column in shown]
    sheet.row("", (_line([column[0] for column in shown], widths), "small"))
    for place, one in enumerate(table.rows):
        line = _line([column[place + 1] for column in shown], widths)
        sheet.row("", (line, "strong" if one.chosen else ""))
        words = " · ".join(part for part in (one.verdict, one.says) if part)
        sheet.row("", ("  " + words, "small"), hang=2)
    for number, why in enumerate(table.refused):
        sheet.row("", ("not tried  " if not number else "           ", "small"), (why, "small"))
    sheet.rule()
    return str(sheet)


def _fitting(columns: list[tuple[str, ...]], room: int) -> list[tuple[str, ...]]:
    """As many columns as fit; what says least goes first."""
    for name in ("swap", "IOPS", "PSI", "queue", "MB/s", "memory"):
        if sum(max(map(len, column)) + 2 for column in columns) - 2 > room:
            columns = [column for column in columns if column[0] != name]
    return columns


def _line(cells: list[str], widths: list[int]) -> str:
    """The first to the left, the numbers to the right; blanks that no line is broken at."""
    first = f"{cells[0]:<{widths[0]}}"
    rest = [f"{cell:>{width}}" for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return tie("  ".join([first, *rest]))
