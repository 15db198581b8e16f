"""Pictures as data say what the report says: no part lost, none invented."""

import math
from collections.abc import Iterator
from itertools import pairwise

import msgspec
import pytest

from recorded import NAMES, recorded
from wellfed._report import charting, history
from wellfed._report.charts import Chart
from wellfed._report.page import page
from wellfed.records import Report, Span


def charts(report: Report) -> list[Chart]:
    return [chart for section in page(report).sections for chart in section.charts]


def numbers(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        for one in value.values():
            yield from numbers(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from numbers(one)
    elif isinstance(value, float):
        yield value


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_every_picture_can_be_drawn(name: str) -> None:
    for chart in charts(recorded(name)):
        assert all(map(math.isfinite, numbers(msgspec.to_builtins(chart)))), chart.name


def test_every_picture_has_a_name_of_its_own_and_says_how_to_read_it() -> None:
    shown = charts(recorded("uneven_batches"))

    assert len({chart.name for chart in shown}) == len(shown) >= 8
    assert all(chart.reading.endswith(".") for chart in shown)


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_of_a_batch_add_up_to_its_stages(name: str) -> None:
    report = recorded(name)
    chart = charting.stages(report)
    if chart is None:
        assert report.stats is None
        return
    assert report.stats is not None
    loop = chart.stacks[-1]
    period_s = sum(report.stats.stages[one].wall_s.value for one in ("wait", "step"))
    assert sum(part.amount for part in loop.parts) == pytest.approx(period_s)
    if len(chart.stacks) == 2:
        fetch_s = report.stats.stages["fetch"].wall_s.value
        fetched = [p for p in chart.stacks[0].parts if p.kind != "moving"]
        assert sum(part.amount for part in fetched) == pytest.approx(fetch_s, rel=0.01)


def test_the_curve_goes_through_what_was_measured() -> None:
    report = recorded("one_worker_computes")
    curve = charting.workers_curve(report)

    assert curve is not None
    assert report.stats is not None
    (measured,) = curve.measured
    assert measured.at == report.trace.plan.workers
    assert measured in curve.points
    assert report.stats.samples_per_batch is not None
    rate = report.stats.samples_per_batch / report.stats.period_s.value
    assert measured.value == pytest.approx(rate)
    assert [point.at for point in curve.points] == sorted({point.at for point in curve.points})
    assert all(point.low <= point.value <= point.high for point in curve.points)


def test_the_limit_of_the_step_is_the_ceiling_of_the_card() -> None:
    report = recorded("one_worker_computes")
    curve = charting.workers_curve(report)

    assert curve is not None
    assert report.verdict.ceiling is not None
    (step,) = [level for level in curve.levels if level.label == "your step"]
    assert step.value == pytest.approx(curve.measured[0].value * report.verdict.ceiling.value)


def test_the_map_marks_what_ran_and_knows_its_neighbours() -> None:
    heat = charting.settings_map(recorded("uneven_batches"))

    assert heat is not None
    assert heat.here == (4, 2)
    column, row = heat.columns.index(4), heat.rows.index(2)
    assert heat.values[row][column] == 1.0
    assert "what ran" in heat.texts[row][column]
    known = [value for line in heat.values for value in line if value is not None]
    assert len(known) == len(heat.rows) * len(heat.columns)


@pytest.mark.parametrize("name", ["rows_no_workers", "five_batches"])
def test_what_was_not_seen_is_not_drawn(name: str) -> None:
    report = recorded(name)
    without = msgspec.structs.replace(report, stats=None, trace=bare(report))

    assert charting.settings_map(without) is None
    assert charts(without) == []


def bare(report: Report) -> object:
    return msgspec.structs.replace(report.trace, spans=(), gauges=())


def spans(count: int) -> tuple[Span, ...]:
    """Batches of 10 ms: waits of 4 ms, steps of 6."""
    return tuple(
        Span(
            epoch=0, number=number, asked_ns=number * 10**7, got_ns=number * 10**7 + 4 * 10**6,
            ready=number % 3, worker=number % 2, pid=7, taken_ns=number * 10**7, fetch_ns=9 * 10**6,
        )
        for number in range(count)
    )  # fmt: skip


def test_a_million_batches_become_some_hundred_points_and_keep_their_mean() -> None:
    report = recorded("remote")
    trace = msgspec.structs.replace(report.trace, spans=spans(100_000))
    chart = history.waits(msgspec.structs.replace(report, trace=trace))

    assert chart is not None
    for line, seconds in zip(chart.lines, (0.004, 0.006), strict=True):
        assert len(line.values) <= history.MOST_POINTS
        assert line.values == pytest.approx([seconds] * len(line.values))
        assert list(line.at_s) == sorted(line.at_s)


def test_every_batch_is_in_the_histogram_once() -> None:
    report = recorded("uneven_batches")
    chart = history.batch_times(report)

    assert chart is not None
    assert sum(chart.counts) == sum(span.fetch_ns > 0 for span in report.trace.spans)
    assert len(chart.edges) == len(chart.counts) + 1
    assert list(chart.edges) == sorted(chart.edges)


def test_the_lanes_are_the_loop_and_each_worker() -> None:
    chart = history.lanes(recorded("uneven_batches"))

    assert chart is not None
    assert [lane.label for lane in chart.lanes] == ["your loop", *(f"worker {n}" for n in range(4))]
    for lane in chart.lanes:
        assert all(piece.seconds >= 0 for piece in lane.pieces)
        # Packing is done by a thread of its own, while the next batch is fetched already.
        working = [piece for piece in lane.pieces if piece.kind != "moving"]
        for one, after in pairwise(working):
            assert one.begin_s + one.seconds <= after.begin_s + 1e-6
