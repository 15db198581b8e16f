"""The step as bars on one scale: as it is, with the first remedy, and if data were free."""

from wellfed._report.figures import Role, Split
from wellfed.records import Estimate, Report
from wellfed.records._record import Record
from wellfed.records.amounts import duration, gain, gain_between, parts

__all__ = ["StepBar", "StepPart", "step_bars"]


class StepPart(Record, frozen=True, kw_only=True):
    """A part of a step."""

    label: str
    role: Role
    share: float
    """Of the longest step shown, 0 to 1."""
    text: str
    """How long it takes, with its margin."""
    meaning: str


class StepBar(Record, frozen=True, kw_only=True):
    """One step."""

    label: str
    whole: str
    """How long it takes."""
    meaning: str
    parts: tuple[StepPart, ...]


WAITING = "Time in which your loop stood inside next(), waiting for its batch"
YOURS = "Everything else in your loop: the model, the optimiser, logging"
COPYING = "Copying the batch to the device from ordinary memory, as timed after the run"
FREE = "Your step alone, with every batch at hand: no loader can be faster than that"


def step_bars(report: Report, split: Split | None) -> tuple[StepBar, ...]:
    """The step as it was, and what it would become; nothing where no step was timed."""
    if split is None or split.period.value <= 0:
        return ()
    bars = [_now(report, split)]
    if report.tuning is not None:
        bars += [
            _changed(f"{one.loader}: {one.change}", one.gain, "measured", split)
            for one in report.tuning.answers
        ]
    else:
        bars += _with_remedy(report, split)
    ceiling = None if report.verdict.abstains else report.verdict.ceiling
    if ceiling is not None and ceiling.value > 1:
        bars.append(_free(ceiling, split))
    return tuple(bars)


def _now(report: Report, split: Split) -> StepBar:
    whole, waiting, yours = parts(split.period, split.waiting, split.yours)
    waits = min(1.0, max(0.0, split.waiting.value / split.period.value))
    copies = min(1.0 - waits, _copy_s(report) / split.period.value)
    pieces = [
        StepPart(
            label="waiting for data", role="waiting", share=waits, text=waiting, meaning=WAITING
        )
    ]
    if copies > 0:
        pieces.append(
            StepPart(
                label="of yours, copying",
                role="copying",
                share=copies,
                text=duration(_copy_s(report)),
                meaning=COPYING,
            )
        )
    pieces.append(
        StepPart(label="yours", role="yours", share=1.0 - waits - copies, text=yours, meaning=YOURS)
    )
    meaning = "From one batch to the next, as you would time it; ± is half the 90 % interval"
    return StepBar(label="now", whole=whole, meaning=meaning, parts=tuple(pieces))


def _copy_s(report: Report) -> float:
    """Seconds that the loop spends copying a batch; 0 where that runs beside it, or is unknown."""
    copied = report.workload.copy_s
    if report.trace.device == "cpu" or copied is None or copied.value is None:
        return 0.0
    return 0.0 if report.trace.plan.pin_memory else copied.value


def _with_remedy(report: Report, split: Split) -> list[StepBar]:
    """The step with the settings advised first; nothing where their gain is not known."""
    verdict = report.verdict
    bound = next((one for one in verdict.findings if one.name == verdict.name), None)
    if bound is None or bound.of_epochs:  # what is won there is not won in a step
        return []
    remedy = bound.remedies[0] if bound.remedies else None
    if remedy is None or remedy.plan is None or remedy.gain is None or remedy.gain.value <= 1:
        return []
    how = "measured" if remedy.measured else "predicted"
    return [_changed(remedy.change, remedy.gain, how, split)]


def _changed(change: str, ratio: Estimate, how: str, split: Split) -> StepBar:
    period_s = split.period.value / ratio.value
    yours_s = min(period_s, split.yours.value)
    said = f"{gain(ratio.value)} {how}; the truth lies in {gain_between(ratio)} nine times of ten"
    return StepBar(
        label=change,
        whole=f"{duration(period_s)} {how}",
        meaning=said,
        parts=_two(period_s - yours_s, yours_s, split),
    )


def _free(ceiling: Estimate, split: Split) -> StepBar:
    period_s = split.period.value / ceiling.value
    said = f"{gain(ceiling.value)} at most ({gain_between(ceiling)}). {FREE}"
    return StepBar(
        label="if data were free",
        whole=duration(period_s),
        meaning=said,
        parts=_two(0.0, period_s, split),
    )


def _two(waiting_s: float, yours_s: float, split: Split) -> tuple[StepPart, ...]:
    sized: tuple[tuple[str, Role, float, str], ...] = (
        ("waiting for data", "waiting", waiting_s, WAITING),
        ("yours", "yours", yours_s, YOURS),
    )
    return tuple(
        StepPart(
            label=label,
            role=role,
            share=min(1.0, seconds / split.period.value),
            text=duration(seconds),
            meaning=meaning,
        )
        for label, role, seconds, meaning in sized
        if seconds > 0
    )
