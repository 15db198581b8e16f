"""Pictures of how the run went, batch after batch: waits, the buffer, lanes, the machine.

A run may have a million batches and a screen has a thousand columns: series are averaged over
stretches of equal length, lanes show the end of the run, and each says so.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import ceil, log10
from statistics import fmean

from wellfed._report.charts import (
    Histogram,
    Kind,
    Lane,
    Lanes,
    Level,
    Line,
    Piece,
    Series,
)
from wellfed._report.sayings import (
    about_batches,
    about_buffer,
    about_cores,
    about_storage,
    about_waits,
)
from wellfed.records import Report, Span
from wellfed.records.amounts import duration

__all__ = ["batch_times", "buffer", "cores", "lanes", "storage", "waits"]

MOST_POINTS = 400
"""Points of a series: twice what a small screen can show apart."""

LANE_BATCHES = 40
"""Batches on the lanes: their stretches stay wide enough to be pointed at."""

BINS = 40

SLOW = 2.0
"""Times the median from which a batch is a straggler: a choice, good for marking and no more."""


def waits(report: Report) -> Series | None:
    """What the loop waited for each batch, and what its own step took, over time."""
    spans = report.trace.spans
    if len(spans) < 3:
        return None
    steps = [
        (one.got_ns, max(0, after.asked_ns - one.got_ns - after.paused_ns))
        for one, after in pairwise(spans)
        if after.epoch == one.epoch
    ]
    return Series(
        name="waits",
        title="Waiting and your step, over time",
        saying=about_waits(report),
        reading=(
            "A wait that is there from the beginning to the end is a shortage; single peaks are "
            "slow batches; a high beginning is the start of an epoch or a cold cache."
        ),
        unit="s",
        lines=(
            _line("waiting", "waiting", [(one.got_ns, one.wait_ns) for one in spans], 1e-9),
            _line("your step", "yours", steps, 1e-9),
        ),
    )


def buffer(report: Report) -> Series | None:
    """Batches that lay ready when the loop asked."""
    seen = [(span.asked_ns, float(span.ready)) for span in report.trace.spans if span.ready >= 0]
    if not report.trace.plan.workers or len(seen) < 3:
        return None
    held = [(span.asked_ns, float(span.held)) for span in report.trace.spans]
    depth = report.trace.plan.depth
    levels = (
        (Level(label="full", value=depth, text=f"workers × prefetch: {depth}"),) if depth else ()
    )
    return Series(
        name="buffer",
        title="Batches ready when the loop asked",
        saying=about_buffer(report),
        reading=(
            "At the top the loader is ahead and nothing is to be gained; at zero the loop "
            "starves. Batches that are held back are ready, but an earlier one is missing."
        ),
        unit="batches",
        lines=(
            _line("ready", "computing", seen),
            _line("held back for order", "queueing", held),
        ),
        levels=levels,
    )


def batch_times(report: Report) -> Histogram | None:
    """How long making a batch took, from the fastest to the slowest."""
    seconds = sorted(span.fetch_ns / 1e9 for span in report.trace.spans if span.fetch_ns > 0)
    if len(seconds) < 10:
        return None
    low, high = log10(seconds[0]), log10(max(seconds[-1], seconds[0] * 1.001))
    edges = [10 ** (low + (high - low) * place / BINS) for place in range(BINS + 1)]
    counts, place = [0] * BINS, 0
    for one in seconds:
        while place < BINS - 1 and one >= edges[place + 1]:
            place += 1
        counts[place] += 1
    marks = [("half are faster", 0.5), ("99 of 100 are faster", 0.99)]
    slow_from = SLOW * _quantile(seconds, 0.5)
    return Histogram(
        name="batch_times",
        title="How long making a batch took",
        saying=about_batches(seconds, report),
        reading=(
            "A narrow hill: batches cost the same. A long tail to the right: a few slow batches "
            "(from twice the usual time on they are marked), which hold back those behind them "
            "because batches come in order."
        ),
        unit="s",
        edges=tuple(edges),
        counts=tuple(counts),
        slow_from=slow_from if seconds[-1] > slow_from else None,
        levels=tuple(_mark(label, _quantile(seconds, share)) for label, share in marks),
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _mark(label: str, seconds: float) -> Level:
    return Level(label=label, value=seconds, text=f"{label} than {duration(seconds)}")


def lanes(report: Report) -> Lanes | None:
    """Who did what, at the end of the run: the loop, and each worker."""
    spans = report.trace.spans[-LANE_BATCHES:]
    if len(spans) < 3:
        return None
    zero_ns = spans[0].asked_ns
    workers = sorted({span.worker for span in spans if span.worker >= 0 and span.fetch_ns > 0})
    drawn = [Lane(label="your loop", pieces=tuple(_loop(spans, zero_ns)))]
    drawn += [
        Lane(label=f"worker {worker}", pieces=tuple(_worker(spans, worker, zero_ns)))
        for worker in workers
    ]
    return Lanes(
        name="lanes",
        title=f"The last {len(spans)} batches",
        reading=(
            "The loop's lane alternates between waiting and your step. Gaps in a worker's lane are "
            "times it had nothing to do, because its earlier batches were not taken yet."
        ),
        lanes=tuple(drawn),
    )


def _loop(spans: Sequence[Span], zero_ns: int) -> Iterable[Piece]:
    for place, span in enumerate(spans):
        number = f"batch {span.number}"
        if span.wait_ns:
            text = f"waited {duration(span.wait_ns / 1e9)} for {number}"
            yield _piece(span.asked_ns, span.wait_ns, "waiting", text, zero_ns)
        after = spans[place + 1] if place + 1 < len(spans) else None
        if after is not None and after.epoch == span.epoch:
            step_ns = max(0, after.asked_ns - span.got_ns - after.paused_ns)
            text = f"your step on {number}: {duration(step_ns / 1e9)}"
            yield _piece(span.got_ns, step_ns, "yours", text, zero_ns)


def _worker(spans: Sequence[Span], worker: int, zero_ns: int) -> Iterable[Piece]:
    for span in spans:
        if span.worker != worker or span.taken_ns < 0 or span.fetch_ns <= 0:
            continue
        number = f"batch {span.number}"
        busy = f"{100 * span.cpu_ns / span.fetch_ns:.0f} % of it computing"
        text = f"{number}: fetched in {duration(span.fetch_ns / 1e9)}, {busy}"
        kind: Kind = "computing" if 2 * span.cpu_ns >= span.fetch_ns else "blocked"
        yield _piece(span.taken_ns, span.fetch_ns, kind, text, zero_ns)
        if span.serialise_ns > 0 and span.sent_ns >= 0:
            text = f"{number}: packed in {duration(span.serialise_ns / 1e9)}"
            begin_ns = span.sent_ns - span.serialise_ns
            yield _piece(begin_ns, span.serialise_ns, "moving", text, zero_ns)


def _piece(begin_ns: int, ns: int, kind: Kind, text: str, zero_ns: int) -> Piece:
    return Piece(begin_s=(begin_ns - zero_ns) / 1e9, seconds=ns / 1e9, kind=kind, text=text)


def cores(report: Report) -> Series | None:
    """Cores kept busy, by this run and by others."""
    usable = report.machine.cpus_usable.value
    gauges = {gauge.name: gauge for gauge in report.trace.gauges if gauge.values}
    own, others = gauges.get("own_busy_cores"), gauges.get("neighbour_busy_cores")
    levels = (
        (Level(label="yours to use", value=usable, text=f"{usable:g} cores"),) if usable else ()
    )
    return _gauges(
        report,
        "cores",
        "Cores at work",
        about_cores(own, others, usable),
        "Below the line, cores are free; at it, only cheaper samples help.",
        "cores",
        {
            "own_busy_cores": ("this run", "computing"),
            "neighbour_busy_cores": ("other processes", "queueing"),
        },
        levels,
    )


STORAGE_GAUGE = "disk_read_bytes_per_s"


def storage(report: Report) -> Series | None:
    """Bytes from storage, while the page cache did not have them."""
    read = [one for one in report.trace.gauges if one.name == STORAGE_GAUGE and one.values]
    chart = _gauges(
        report,
        "storage",
        "Read from storage",
        about_storage(read[0]) if read else "",
        "What the page cache did not have. Falling to zero: the files are in memory by now.",
        "B/s",
        {STORAGE_GAUGE: ("read", "blocked")},
        (),
    )
    return chart if chart and any(any(line.values) for line in chart.lines) else None


def _gauges(
    report: Report,
    name: str,
    title: str,
    saying: str,
    reading: str,
    unit: str,
    wanted: dict[str, tuple[str, Kind]],
    levels: tuple[Level, ...],
) -> Series | None:
    lines = tuple(
        Line(
            label=wanted[gauge.name][0],
            kind=wanted[gauge.name][1],
            at_s=tuple(at / 1e9 for at in gauge.at_ns),
            values=gauge.values,
        )
        for gauge in report.trace.gauges
        if gauge.name in wanted and len(gauge.values) > 2
    )
    if not lines:
        return None
    return Series(
        name=name,
        title=title,
        saying=saying,
        reading=reading,
        unit=unit,
        lines=lines,
        levels=levels,
    )


def _line(label: str, kind: Kind, points: Sequence[tuple[int, float]], scale: float = 1.0) -> Line:
    """Means over stretches of equally many points, which are times in nanoseconds and values."""
    stretch = max(1, ceil(len(points) / MOST_POINTS))
    pieces = [points[place : place + stretch] for place in range(0, len(points), stretch)]
    return Line(
        label=label,
        kind=kind,
        at_s=tuple(fmean(at for at, _ in piece) / 1e9 for piece in pieces),
        values=tuple(fmean(value for _, value in piece) * scale for piece in pieces),
    )
