"""What tuning found, as a card: the line to paste, what it gained, and why the others lost."""

from wellfed._report.sheet import Page, Sheet
from wellfed.records import Answer, Estimate, Failed, Measured, Report, Trial, Tuning, Vetoed
from wellfed.records.amounts import duration, gain, gain_between, size

__all__ = ["render_tuning"]

WITHIN = 1.02
"""Up to this ratio a plan is as good as the best."""

MOST_TRIALS = 14
"""Plans listed; the rest, which were refused, are counted."""


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
    sheet = Sheet(Page(width=width, color=color, unicode=unicode), gutter=11)
    tried = sum(isinstance(one.outcome, Measured) for one in tuning.trials)
    sheet.rule("wellfed", f"{tried} settings tried in {duration(tuning.spent_s)}")
    per = (report.stats and report.stats.samples_per_batch) or 1.0
    unit = "samples/s" if report.stats and report.stats.samples_per_batch else "batches/s"
    for answer in tuning.answers:
        sheet.blank()
        _answer(sheet, answer, tuning, per, unit)
    sheet.blank()
    _table(sheet, tuning, per, unit)
    if tuning.interrupted:
        sheet.row("", ("interrupted: these are the best so far", "unsure"))
    sheet.rule()
    return str(sheet)


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


def _table(sheet: Sheet, tuning: Tuning, per: float, unit: str) -> None:
    shown = [one for one in tuning.trials if not isinstance(one.outcome, Vetoed)][:MOST_TRIALS]
    best = {one.loader: one.seconds.value for one in tuning.answers}
    label = "tried"
    for trial in shown:
        loader = trial.name.partition(":")[0]
        chosen = any(one.plan == trial.plan for one in tuning.answers)
        words = f"{_settings(trial):<34}{_speed(trial, per, unit):<20}"
        sheet.row(
            label, (words, "strong" if chosen else "small"), _why(trial, best.get(loader), chosen)
        )
        label = ""
    refused = [one for one in tuning.trials if isinstance(one.outcome, Vetoed)]
    if refused:
        first = refused[0].outcome
        assert isinstance(first, Vetoed)
        sheet.row("not tried", (f"{len(refused)} settings: {first.why}", "small"))


def _settings(trial: Trial) -> str:
    loader, _, words = trial.name.partition(": ")
    short = words.replace("num_workers=", "").replace("prefetch_factor=", "× ").replace(",", "")
    return f"{loader} {short}"[:33]


def _speed(trial: Trial, per: float, unit: str) -> str:
    if not isinstance(trial.outcome, Measured):
        return ""
    seconds = trial.outcome.seconds
    return f"{per / seconds.value:,.0f} {unit} ±{_percent(seconds)}"


def _percent(seconds: Estimate) -> str:
    return f"{100 * min(9.99, seconds.spread):.0f} %"


def _why(trial: Trial, best_s: float | None, chosen: bool) -> str:
    outcome = trial.outcome
    if isinstance(outcome, Failed):
        return f"failed: {outcome.why}"
    if not isinstance(outcome, Measured) or best_s is None:
        return ""
    if chosen:
        return "the answer"
    ratio = outcome.seconds.value / best_s
    if ratio <= WITHIN:
        return "as fast, but takes more"
    return f"{100 * (ratio - 1):.0f} % slower"
