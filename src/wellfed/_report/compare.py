"""Before and after: what a change gained, next to what was predicted for it."""

from math import exp, isfinite, log, sqrt

from wellfed._report.figures import Change, Contrast
from wellfed._report.prose import settings
from wellfed._report.sheet import Page, Sheet
from wellfed._report.surroundings import caveats, surroundings
from wellfed.records import Estimate, Report, StageStats, amounts

__all__ = ["contrast", "render_compare", "slower_than"]

COLUMN = 12
"""Columns of a value in the table."""

SCALE_LEAST, SCALE_MOST = 16, 36
"""Columns of the drawn intervals: fewer tell nothing, more tell no more."""


def contrast(before: Report, after: Report, predicted: Estimate | None = None) -> Contrast:
    """Two runs side by side, and whether a prediction came true."""
    measured = _gain(before.stats, after.stats)
    holds = None
    if measured and predicted:
        holds = predicted.low <= measured.value <= predicted.high
    was, now = settings(before.trace.plan), settings(after.trace.plan)
    return Contrast(
        changed=tuple(
            Change(label=name, before=was[name], after=now[name])
            for name in was
            if was[name] != now[name]
        ),
        rows=_rows(before.stats, after.stats),
        measured=measured,
        predicted=predicted,
        holds=holds,
        sentence=_sentence(measured, predicted, holds),
        surroundings=surroundings(before, after),
        caveats=caveats(before, after),
    )


def render_compare(
    before: Report,
    after: Report,
    predicted: Estimate | None = None,
    *,
    width: int = 80,
    color: bool = False,
    unicode: bool = True,
) -> str:
    """Two runs as a small card.

    Args:
        before: the run before the change.
        after: the run after it.
        predicted: the gain that was predicted for the change, if one was.
        width: columns of the page.
        color: whether to write ANSI colours.
        unicode: whether the reader's terminal can show more than ASCII.
    """
    seen = contrast(before, after, predicted)
    sheet = Sheet(Page(width=width, color=color, unicode=unicode), gutter=20)
    sheet.rule("wellfed", "before and after")
    sheet.blank()
    sheet.row("", f"{'before':<{COLUMN}}", ("after", "strong"))
    for row in (*seen.rows, *seen.changed):
        sheet.row(row.label, f"{row.before:<{COLUMN}}", (row.after, "strong"))
    if seen.surroundings:
        sheet.blank()
        for row in seen.surroundings:
            sheet.row(row.label, f"{row.before} → ", (row.after, "strong"))
    sheet.blank()
    _intervals(sheet, seen)
    tone = "strong" if seen.holds is None else "good" if seen.holds else "unsure"
    sheet.row("", (seen.sentence, tone))
    for caveat in seen.caveats:
        sheet.row("", (caveat, "small"))
    sheet.rule()
    return str(sheet)


def slower_than(seen: Contrast, share: float) -> bool:
    """Whether the second run is slower by more than `share` of the first, and not by noise alone.

    Args:
        seen: two runs.
        share: 0 to 1.
    """
    return bool(seen.differs and seen.measured and seen.measured.value < 1 - share)


def _rows(before: StageStats | None, after: StageStats | None) -> tuple[Change, ...]:
    if before is None or after is None:
        return ()
    rows = [
        Change(
            label="step",
            before=amounts.duration(before.period_s.value),
            after=amounts.duration(after.period_s.value),
        ),
        Change(
            label="waiting for data",
            before=amounts.share(before.wait_share.value),
            after=amounts.share(after.wait_share.value),
        ),
    ]
    if before.samples_per_batch and after.samples_per_batch:
        rows.insert(
            1,
            Change(
                label="samples/s",
                before=f"{before.samples_per_batch / before.period_s.value:,.0f}",
                after=f"{after.samples_per_batch / after.period_s.value:,.0f}",
            ),
        )
    return tuple(rows)


def _gain(before: StageStats | None, after: StageStats | None) -> Estimate | None:
    """Samples per second after over before, per batch where samples were not counted."""
    if before is None or after is None:
        return None
    was, now = before.period_s, after.period_s
    if min(was.low, now.low) <= 0 or not isfinite(was.high + now.high):
        return None
    growth = 1.0
    if before.samples_per_batch and after.samples_per_batch:
        growth = after.samples_per_batch / before.samples_per_batch
    # The runs are independent: the half-widths of their logarithms add as squares do.
    width = sqrt(sum((log(one.high) - log(one.low)) ** 2 for one in (was, now))) / 2
    value = growth * was.value / now.value
    return Estimate(value=value, low=value * exp(-width), high=value * exp(width))


def _sentence(measured: Estimate | None, predicted: Estimate | None, holds: bool | None) -> str:
    if measured is None:
        return "Too few batches were seen to compare the two runs."
    speed = amounts.gain(measured.value)
    if predicted is None and measured.low <= 1.0 <= measured.high:
        return f"No difference beyond the noise: {speed}, {amounts.gain_between(measured)}."
    if predicted is None:
        how = "Faster" if measured.value > 1 else "Slower"
        return f"{how} beyond the noise: {speed}, {amounts.gain_between(measured)}."
    interval = amounts.gain_between(predicted)
    if holds:
        return f"The prediction held: {speed} lies inside {interval}."
    return f"The prediction missed: {speed} lies outside {interval}."


def _intervals(sheet: Sheet, seen: Contrast) -> None:
    """Both gains on one scale that begins at "no change"."""
    named = [("measured", seen.measured), ("predicted", seen.predicted)]
    drawn = [(label, gain) for label, gain in named if gain is not None]
    if not drawn:
        return
    low = min(1.0, *(gain.low for _, gain in drawn))
    high = max(1.0, *(gain.high for _, gain in drawn))
    columns = min(SCALE_MOST, sheet.room - 22)
    for label, gain in drawn:
        words = f"{amounts.gain(gain.value):<7}{amounts.gain_between(gain):<15}"
        scale = _whisker(gain, low, high, columns) if columns >= SCALE_LEAST else ""
        sheet.row(label, (words, "strong"), scale.replace(" ", "\N{NO-BREAK SPACE}"))


def _whisker(gain: Estimate, low: float, high: float, columns: int) -> str:
    """The interval from ├ to ┤ with ● at the value; │ marks "no change"."""

    def at(value: float) -> int:
        return round((value - low) / (high - low) * (columns - 1)) if high > low else 0

    marks = [" "] * columns
    marks[at(1.0)] = "│"
    for place in range(at(gain.low), at(gain.high) + 1):
        marks[place] = "─"
    marks[at(gain.low)], marks[at(gain.high)] = "├", "┤"
    marks[at(gain.value)] = "●"
    return "".join(marks).rstrip()
