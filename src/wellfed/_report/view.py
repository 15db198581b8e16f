"""What a report's card says, as data: which facts, in which words, in which order.

A renderer only draws a `Card`; tests compare it. Numbers that are drawn to scale stay numbers,
the rest is already in words, so that every renderer says the same.
"""

from wellfed._report.changing import changed
from wellfed._report.figures import Advice, Bar, Card, Role, Row, Split, Tone
from wellfed._report.prose import basis, loader_call, side_effects, watch_longer
from wellfed._report.proving import proof_rows, untested_rows
from wellfed._report.titles import LEDGER, title
from wellfed.records import (
    Estimate,
    Finding,
    Knob,
    Ledger,
    Remedy,
    Report,
    StageStats,
    Verdict,
    amounts,
)

__all__ = ["Advice", "Bar", "Card", "Row", "Split", "Tone", "view"]

MOST_ADVICE = 3
"""Remedies shown: the best, and two others for who cannot take it."""

MOST_UNREAD = 3
"""Signals named as unread; the rest are counted."""

# A choice, not a measurement: for less than two per cent nobody should have to edit a script.
NOISE = 0.02

# A slice of the wall below this is a hair on the bar: it joins "everything else".
SLIVER = 0.01


def view(report: Report) -> Card:
    """The card of a report."""
    verdict = report.verdict
    bound = next((f for f in verdict.findings if f.name == verdict.name), None)
    advice = _advice(report, bound)
    return Card(
        name=verdict.name,
        code=bound.code if bound else "",
        title=title(verdict.name),
        headline=verdict.abstains or verdict.headline,
        tone=_tone(verdict),
        confidence=None if verdict.abstains else verdict.confidence,
        split=_split(report.stats) if report.stats else None,
        ceiling=None if verdict.abstains else verdict.ceiling,
        wall_s=report.ledger.wall_s if report.ledger else 0.0,
        bars=_bars(report.ledger) if report.ledger else (),
        evidence=tuple(e.text for e in bound.evidence) if bound else (),
        proof=proof_rows(report),
        untested=(*untested_rows(report), *_untested(verdict)),
        site=str(report.trace.site or ""),
        call=loader_call(report),
        advice=advice,
        not_worth=() if verdict.abstains else _not_worth(verdict.knobs, advice),
        also=tuple(_also(f) for f in verdict.findings if f is not bound),
        small_print=(
            *basis(report),
            *changed(report),
            *_limited(report),
            *_deaths(report),
            *_ignored(verdict),
            *_unread(report),
        ),
        wellfed_version=report.wellfed_version,
    )


def _tone(verdict: Verdict) -> Tone:
    if verdict.abstains:
        return "unsure"
    return "good" if verdict.name == "consumer_bound" else "bad"


def _split(stats: StageStats) -> Split:
    period, share = stats.period_s, stats.wait_share
    wait, step = stats.stages.get("wait"), stats.stages.get("step")
    waiting = wait.wall_s if wait else _scaled(share, period.value)
    yours = step.wall_s if step else _scaled(_rest(share), period.value)
    samples = stats.samples_per_batch
    return Split(
        period=period,
        waiting=waiting,
        yours=yours,
        samples_per_s=samples / period.value if samples and period.value else None,
    )


def _scaled(share: Estimate, by: float) -> Estimate:
    return Estimate(value=share.value * by, low=share.low * by, high=share.high * by, n=share.n)


def _rest(share: Estimate) -> Estimate:
    return Estimate(value=1 - share.value, low=1 - share.high, high=1 - share.low, n=share.n)


def _bars(ledger: Ledger) -> tuple[Bar, ...]:
    """The ledger's lines, slivers gathered; waiting and step always keep their own bar."""
    shown = [
        line
        for line in ledger.lines
        if line.name in ("wait", "step")
        or (line.name != "other" and ledger.share(line.name) >= SLIVER)
    ]
    shown.sort(key=lambda line: -line.seconds)
    bars = [
        Bar(
            label=LEDGER.get(line.name, line.name),
            seconds=line.seconds,
            share=line.seconds / ledger.wall_s if ledger.wall_s else 0.0,
            role=_role(line.name),
        )
        for line in shown
    ]
    rest = sum(line.seconds for line in ledger.lines if line not in shown)
    if ledger.wall_s and rest / ledger.wall_s >= SLIVER / 2:
        share = rest / ledger.wall_s
        bars.append(Bar(label=LEDGER["other"], seconds=rest, share=share, role="rest"))
    return tuple(bars)


def _role(name: str) -> Role:
    if name == "step":
        return "yours"
    return "rest" if name in ("other", "other_loaders") else "waiting"


def _advice(report: Report, bound: Finding | None) -> tuple[Advice, ...]:
    if bound and bound.remedies:
        return tuple(_advise(remedy) for remedy in bound.remedies[:MOST_ADVICE])
    if report.verdict.abstains:
        return (Advice(change=watch_longer(report), gain="", side_effects=()),)
    return ()


def _advise(remedy: Remedy) -> Advice:
    return Advice(
        change=remedy.change,
        gain=_gain(remedy.gain, "measured" if remedy.measured else "predicted")
        + _also_predicted(remedy),
        side_effects=side_effects(remedy),
        why=remedy.why,
    )


def _gain(ratio: Estimate | None, how: str) -> str:
    if ratio is None:
        return ""
    return f"{amounts.gain(ratio.value)} {how}, {amounts.gain_between(ratio)}"


def _also_predicted(remedy: Remedy) -> str:
    """What had been predicted of a gain that was measured."""
    if not remedy.measured or remedy.predicted is None:
        return ""
    return f" ({amounts.gain(remedy.predicted.value)} predicted)"


def _not_worth(knobs: tuple[Knob, ...], advice: tuple[Advice, ...]) -> tuple[Row, ...]:
    """Settings whose best value gains nothing that could be told from noise.

    A setting that the advice itself changes is left out: the card must not contradict itself.
    """
    return tuple(
        Row(label=knob.name, amount=amounts.change(knob.gain.value), text=knob.sentence)
        for knob in knobs
        if knob.now == knob.best or knob.gain.low <= 1 or knob.gain.value < 1 + NOISE
        if not any(knob.name in one.change for one in advice)
    )


def _also(finding: Finding) -> Row:
    remedy = f" → {finding.remedies[0].change}" if finding.remedies else ""
    cost = finding.cost_share.value
    return Row(
        label=finding.code,
        amount=f"costs {amounts.share(cost)}" if cost > 0 else "",
        text=finding.sentence + remedy,
    )


def _untested(verdict: Verdict) -> tuple[Row, ...]:
    """Causes that the run could not have shown; each sentence is their names and why."""
    said = (text.partition(": ") for text in verdict.untested)
    return tuple(Row(label=why, text=names) for names, _, why in said)


def _ignored(verdict: Verdict) -> tuple[Row, ...]:
    if not verdict.ignored:
        return ()
    return (Row(label="ignored", text=f"as asked: {', '.join(verdict.ignored)}"),)


def _limited(report: Report) -> tuple[Row, ...]:
    """What was changed to keep within a limit: the first and the last of it tell the story."""
    said = dict.fromkeys((*report.trace.limited[:1], *report.trace.limited[-1:]))
    return tuple(Row(label="limit", text=text) for text in said)


def _deaths(report: Report) -> tuple[Row, ...]:
    """Which workers were replaced: how often, and the last of them."""
    said = report.trace.deaths
    if not said:
        return ()
    times = f"{len(said)} workers were replaced. The last: " if len(said) > 1 else ""
    return (Row(label="died", text=f"{times}{said[-1]}"),)


def _unread(report: Report) -> tuple[Row, ...]:
    signals = tuple(dict.fromkeys((*report.unread, *report.trace.failures)))
    shown, more = signals[:MOST_UNREAD], len(signals) - MOST_UNREAD
    rows = [Row(label="unread", text=signal) for signal in shown]
    if more > 0:
        rows.append(Row(label="unread", text=f"and {more} more: --json"))
    return tuple(rows)
