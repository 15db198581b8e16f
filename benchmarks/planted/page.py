"""Outcomes as text: a line in the terminal, tables on the page."""

import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch

import wellfed
from planted.outcome import CONTROL, Outcome
from planted.scoring import WITHIN, Score, confusion, interval, of_thumbs, score
from wellfed._insight.codes import CODES

__all__ = ["page_with", "right_answer", "tables", "told"]

BEGIN, END = "<!-- accuracy: begin -->\n", "<!-- accuracy: end -->\n"


def right_answer(one: Outcome) -> str:
    """The verdict that is right."""
    return "consumer_bound" if one.label == CONTROL else one.label


def told(one: Outcome) -> str:
    """One run in one line."""
    gain = (
        f" gain {one.predicted[0]:.2f}, measured {one.measured:.2f}"
        if one.predicted and one.measured
        else ""
    )
    mark = "" if one.verdict == right_answer(one) else f", not {right_answer(one)}"
    return (
        f"{one.key:28s} costs {one.plant_cost:4.0%} of {one.data_cost:4.0%}  in next() "
        f"{one.share_in_next:4.0%}  {one.verdict}{mark}{gain}  {one.seconds:.0f} s"
    )


def page_with(text: str, page: str) -> str:
    """The page with its tables replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def tables(
    outcomes: Sequence[Outcome], disturbed: Sequence[Outcome], facts: Mapping[str, Any]
) -> str:
    """All that came out, as Markdown."""
    counts = score(outcomes)
    return "\n".join(
        [
            f"{len(outcomes)} of the {facts['drawn']} runs that `{facts['command']}` draws, "
            f"{facts['date']}, {facts['machine']}. Ranges are 90 % intervals.",
            "",
            *_summary(counts),
            "",
            *_beside_others(score(disturbed)),
            "",
            "Whether data is the limit at all: how often that was said rightly, beside the rules",
            "that people use, on the same traces. They know one number, the share of a step inside",
            "`next()`, and name a phase; none of them names a resource.",
            "",
            *_beside_thumbs(counts, outcomes),
            "",
            "Which verdict was given (columns, by the number of its code) where which was right",
            "(rows). An empty cell is none.",
            "",
            *_matrix(confusion(outcomes)),
        ]
    )


def machine() -> str:
    """Where it was measured, in words."""
    models = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return (
        f"{len(os.sched_getaffinity(0))} cores of {models[0] if models else platform.machine()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"wellfed {wellfed.__version__}"
    )


def _summary(counts: Score) -> list[str]:
    known = counts.positives + counts.controls
    noisy, few = counts.abstained["too_noisy"], counts.abstained["not_enough_evidence"]
    errors = [abs(predicted / measured - 1) for predicted, measured in counts.gains]
    rows = [
        ("Planted runs whose cause costs a tenth of the time or more", f"{counts.positives}"),
        ("Controls, with nothing to fix", f"{counts.controls}"),
        ("Named rightly by the verdict", of(counts.top1, counts.positives)),
        ("Right name among the first two findings", of(counts.top2, counts.positives)),
        ("Something else named", of(counts.wrong, counts.positives)),
        ("Controls told of a bottleneck in the loader", of(counts.alarms, counts.controls)),
        ("No verdict, too noisy", of(noisy, known)),
        ("No verdict, not enough evidence", of(few, known)),
        (
            f"Predicted gain within {WITHIN:.0%} of the measured one",
            of(counts.gains_close, len(counts.gains)),
        ),
        ("Measured gain within the predicted interval", of(counts.gains_inside, len(counts.gains))),
    ]
    if errors:
        rows.append(("Error of the predicted gain, median", f"{median(errors):.0%}"))
    rows += [
        ("Seconds from the command to the verdict, median and worst tenth", spread(counts.seconds)),
        ("Of them, seconds watched", spread(counts.watched_s)),
        ("Plants left out or made controls, since they cost less than a tenth", f"{counts.weak}"),
        (
            "Runs without a right answer, which nothing above counts",
            f"{counts.neither}",
        ),
    ]
    return ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]


def _beside_others(counts: Score) -> list[str]:
    runs = counts.positives + counts.controls
    noisy = sum(counts.abstained.values())
    return [
        f"Besides, {runs} runs while other programs kept more than a tenth of the cores busy, not",
        f"counted above: {counts.top1 + counts.quiet} named rightly, {noisy} without a "
        f"verdict, {counts.wrong + counts.alarms} wrong. What is right is less sure in these, too.",
    ]


def _beside_thumbs(counts: Score, outcomes: Sequence[Outcome]) -> list[str]:
    known = counts.positives + counts.controls
    rows = ["| Rule | Right | Missed | False alarms | Resource named rightly |", "|" + " --- |" * 5]
    missed = sum(
        one.label not in (CONTROL, "neither") and one.verdict == "consumer_bound"
        for one in outcomes
    )
    rows.append(
        f"| wellfed | {of(counts.bound_right, known)} | {missed} | {counts.alarms} "
        f"| {of(counts.top1, counts.positives)} |"
    )
    rows += [
        f"| {one.name} | {of(one.right, one.of)} | {one.missed} | {one.alarms} | 0 |"
        for one in of_thumbs(outcomes)
    ]
    return rows


def _matrix(given: Mapping[str, Mapping[str, int]]) -> list[str]:
    codes = {**CODES, CONTROL: CODES["consumer_bound"]}
    names = sorted(
        {name for row in given.values() for name in row}, key=lambda one: codes.get(one, one)
    )
    heads = [codes.get(name, name).removeprefix("WF") for name in names]
    rows = [f"| Right | {' | '.join(heads)} |", "| --- |" + " ---: |" * len(heads)]
    for label in sorted(given, key=lambda one: (codes.get(one, one), one)):
        code = "controls: WF101" if label == CONTROL else f"`{label}` {codes.get(label, '')}"
        cells = [str(given[label][name] or "") for name in names]
        rows.append(f"| {code} | {' | '.join(cells)} |")
    return rows


def of(part: int, whole: int) -> str:
    """A count of a count, with its share and the interval of that."""
    if not whole:
        return "0 of 0"
    low, high = (round(100 * end) for end in interval(part, whole))
    return f"{part} of {whole}: {part / whole:.0%} ({low} to {high})"


def spread(values: Sequence[float]) -> str:
    """The median, and what nine in ten do not exceed."""
    if len(values) < 2:
        return ", ".join(f"{value:.1f}" for value in values)
    return f"{median(values):.1f}, {quantiles(values, n=10)[-1]:.1f}"
