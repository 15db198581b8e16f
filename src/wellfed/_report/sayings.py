"""What each picture shows in this very run, in one sentence: its headline.

A picture whose headline says what is to be seen is understood before it is read. The sentences
repeat what the numbers are and judge nothing that the verdict does not.
"""

from collections.abc import Sequence

from wellfed._report.charts import Level, Point
from wellfed.records import Gauge, Report
from wellfed.records.amounts import change, duration, share, size

__all__ = [
    "about_batches",
    "about_buffer",
    "about_cores",
    "about_map",
    "about_memory",
    "about_storage",
    "about_supply",
    "about_waits",
    "about_workers",
]

FLAT = 0.98
"""Within two per cent of the best forecast, more workers gain nothing that could be noticed."""

AT_THE_LIMIT = 0.85
"""From this share of a limit on, the upper end of a forecast is said to run into it: the model's
cores lose some of their worth when all are busy, so it comes near a limit and rarely reaches it."""

NOTICED = 1.03
"""Forecasts nearer to each other than three per cent are the same."""

LATE = 0.02
"""A batch that keeps the loop waiting for less than this share of a step came in time."""


def about_supply(report: Report) -> str:
    """What making batches comes to, beside what the loop could take."""
    stats = report.stats
    if stats is None or "fetch" not in stats.stages or "step" not in stats.stages:
        return ""
    fetch_s, step_s = (stats.stages[name].wall_s.value for name in ("fetch", "step"))
    workers = report.trace.plan.workers
    step = f"your step takes {duration(step_s)}"
    if not workers:
        return f"The loop makes each batch itself, in {duration(fetch_s)}, and {step}."
    who = "One worker makes" if workers == 1 else f"{workers} workers make"
    every_s = fetch_s / workers
    so = "on average that is in time" if every_s <= step_s else "it has to wait"
    return f"{who} a batch every {duration(every_s)} at best; {step}, so {so}."


def about_workers(points: Sequence[Point], levels: Sequence[Level], workers: int, unit: str) -> str:
    """Where more workers stop to help, and at whose limit."""
    here = next((point for point in points if point.at == workers), None)
    if here is None:
        return ""
    top = max(points, key=lambda one: one.value)
    best = top.value
    enough = next(point for point in points if point.value >= FLAT * best)
    lowest = min(levels, key=lambda one: one.value, default=None)
    why = ""
    if lowest is not None and top.high >= AT_THE_LIMIT * lowest.value:
        allow = "allow" if lowest.label.endswith("s") else "allows"
        why = f": {lowest.label} {allow} at most {lowest.value:,.0f} {unit}"
    if here.value >= FLAT * best:
        return f"More workers would not help{why}."
    gains = change(enough.value / here.value)
    settles = f"num_workers={enough.at:g} would give {gains}"
    return f"{settles}, and more than that nothing{why}."


def about_map(column: Sequence[float | None], workers: int) -> str:
    """Whether the depth of the buffer matters beside the workers that ran."""
    known = [one for one in column if one is not None]
    if len(known) < 2 or min(known) <= 0:
        return ""
    beside = "one worker" if workers == 1 else f"{workers} workers"
    if max(known) < NOTICED * min(known):
        return f"With {beside}, prefetch_factor changes nothing."
    most = change(max(known) / min(known))
    return f"With {beside}, prefetch_factor changes the speed by up to {most}."


def about_waits(report: Report) -> str:
    """How many batches came late, and the worst of them."""
    spans, stats = report.trace.spans, report.stats
    if stats is None or not spans:
        return ""
    if not report.trace.plan.workers:
        wait_s = sum(span.wait_ns for span in spans) / len(spans) / 1e9
        return f"Without workers every batch is waited for: {duration(wait_s)} each time."
    limit_ns = LATE * stats.period_s.value * 1e9
    late = sum(span.wait_ns > limit_ns for span in spans)
    longest = max(span.wait_ns for span in spans) / 1e9
    if not late:
        return f"No batch came late in {len(spans):,}."
    return (
        f"The loop waited for {late:,} of {len(spans):,} batches, their unpacking included: "
        f"{duration(longest)} at the longest."
    )


def about_buffer(report: Report) -> str:
    """How often the buffer was empty."""
    seen = [span.ready for span in report.trace.spans if span.ready >= 0]
    if not seen:
        return ""
    empty = sum(not one for one in seen) / len(seen)
    held = sum(span.held > 0 for span in report.trace.spans) / len(seen)
    said = f"Nothing was ready at {share(empty)} of the requests"
    return f"{said}; at {share(held)}, later batches were held back." if held else f"{said}."


def about_batches(ordered: Sequence[float], report: Report) -> str:
    """Typical and slow batches, and what keeping the order costs."""
    half, slow = (
        ordered[len(ordered) // 2],
        ordered[min(len(ordered) - 1, 99 * len(ordered) // 100)],
    )
    said = f"Half of the batches take less than {duration(half)}, one in a hundred {duration(slow)}"
    lost = report.stats.held_wait_share if report.stats is not None else 0.0
    if lost < LATE:
        return f"{said} or more."
    return f"{said} or more; waiting for one while later ones lay ready took {share(lost)}."


def about_memory(held: float, limit: float | None) -> str:
    """How much of the limit was used."""
    said = f"{size(held)} in use at most"
    return f"{said}: {share(held / limit)} of what there is." if limit else f"{said}."


def about_cores(own: Gauge | None, others: Gauge | None, usable: float | None) -> str:
    """Who kept how many cores busy."""
    if own is None:
        return ""
    mean = _mean(own)
    said = f"This run kept {mean:.1f} cores busy"
    if others is not None and _mean(others) >= 0.1:
        said += f", other processes {_mean(others):.1f}"
    return f"{said}, of {usable:g} that it may use." if usable else f"{said}."


def about_storage(read: Gauge) -> str:
    """How fast storage was read on average, and at most."""
    return f"{size(_mean(read))}/s on average, {size(max(read.values))}/s at most."


def _mean(gauge: Gauge) -> float:
    return sum(gauge.values) / len(gauge.values)
