"""The page as data: steps on one scale, headlines that the numbers bear out, tables, rules."""

import time

import msgspec
import pytest
from reports import STARVED, est

from recorded import NAMES, recorded
from wellfed._report import tables
from wellfed._report.charting import costs, workers_curve
from wellfed._report.html import render_html
from wellfed._report.page import page
from wellfed._report.rulebook import rule_page
from wellfed._report.stepping import step_bars
from wellfed._report.view import view
from wellfed.records import (
    Answer,
    Cost,
    Fact,
    Failed,
    Measured,
    Outcome,
    Plan,
    Proof,
    RankSeen,
    Report,
    Trial,
    Tuning,
    Vetoed,
)


def with_trials(*outcomes: Outcome) -> Report:
    """A report whose tuning had these outcomes, with 1, 2, ... workers; the first is the answer."""
    trials = tuple(
        Trial(
            name=f"torch: num_workers={workers}",
            kind="setting",
            question="how fast is it?",
            plan=Plan(workers=workers, prefetch=2),
            outcome=outcome,
        )
        for workers, outcome in enumerate(outcomes, 1)
    )
    answer = Answer(
        loader="torch",
        plan=Plan(workers=1, prefetch=2),
        seconds=est(0.01),
        gain=est(2.0),
        change="num_workers=1",
        why="no other was as fast",
    )
    tuning = Tuning(present=Plan(), trials=trials, answers=(answer,))
    return msgspec.structs.replace(recorded("one_worker_computes"), tuning=tuning)


@pytest.mark.parametrize("name", NAMES)
def test_steps_are_on_one_scale_and_none_is_longer_than_the_run(name: str) -> None:
    report = recorded(name)
    bars = step_bars(report, view(report).split)

    for bar in bars:
        assert sum(part.share for part in bar.parts) <= 1.0 + 1e-9
        assert all(part.share >= 0.0 for part in bar.parts)
    if bars:
        assert sum(part.share for part in bars[0].parts) == pytest.approx(1.0)


def test_the_step_with_the_advice_is_shorter_by_the_gain_that_is_predicted() -> None:
    report = recorded("one_worker_computes")
    gain = report.verdict.findings[0].remedies[0].gain
    now, advised, free = step_bars(report, view(report).split)

    assert gain is not None
    assert sum(part.share for part in advised.parts) == pytest.approx(1 / gain.value)
    assert "predicted" in advised.whole
    assert [part.role for part in now.parts] == ["waiting", "yours"]
    assert [part.role for part in free.parts] == ["yours"]


def test_a_copy_from_ordinary_memory_has_its_own_part_of_the_step() -> None:
    report = recorded("one_worker_computes")
    workload = msgspec.structs.replace(report.workload, copy_s=Fact(value=0.001, how="timed"))
    trace = msgspec.structs.replace(report.trace, device="cuda")
    copied = msgspec.structs.replace(report, workload=workload, trace=trace)
    now = step_bars(copied, view(copied).split)[0]

    assert [part.role for part in now.parts] == ["waiting", "copying", "yours"]


def test_after_tuning_the_steps_are_those_that_were_measured() -> None:
    report = with_trials(Measured(seconds=est(0.01), batches=40, effect=est(2.0)))
    labels = [bar.label for bar in step_bars(report, view(report).split)]

    assert labels == ["now", "torch: num_workers=1", "if data were free"]


def test_every_setting_that_was_tried_or_refused_has_its_row() -> None:
    table = tables.settings(
        with_trials(
            Measured(seconds=est(0.01), batches=40, effect=est(2.0), peak_bytes=3_000_000),
            Failed(why="the worker died"),
            Vetoed(why="beyond the memory limit"),
        )
    )

    assert table is not None
    assert table.marked == (0,)
    labels = [column.label for column in table.columns]
    told = [dict(zip(labels, row, strict=True)) for row in table.rows]
    assert [one["num_workers"] for one in told] == ["1", "2", "3"]
    assert told[0]["speed"].startswith("800 samples/s")
    assert told[0]["against yours"].startswith("+100 %")
    assert told[0]["workers' memory"] == "3.0 MB"
    assert told[1]["speed"] == "failed: the worker died"
    assert told[2]["speed"] == "not tried: beyond the memory limit"
    assert "also" not in labels


def test_the_rank_that_waits_longest_is_marked() -> None:
    report = recorded("late_rank")
    table = tables.ranks(report)

    assert table is not None
    (marked,) = table.marked
    latest = max(report.trace.ranks, key=lambda one: one.wait_s)
    assert table.rows[marked][0] == str(latest.rank)
    assert [len(row) for row in table.rows] == [len(table.columns)] * len(report.trace.ranks)


def test_one_rank_is_no_table() -> None:
    alone = RankSeen(rank=0, batches=9, period_s=1.0, wait_s=0.5, workers=1, busy_cores=1.0)
    report = recorded("one_worker_computes")
    trace = msgspec.structs.replace(report.trace, ranks=(alone,))

    assert tables.ranks(msgspec.structs.replace(report, trace=trace)) is None


def test_a_step_that_experiments_took_apart_is_drawn_with_its_largest_cost_named() -> None:
    proof = Proof(
        trials=(),
        period_s=est(0.1),
        costs=(
            Cost(name="storage", seconds=est(0.02)),
            Cost(name="compute+waiting", seconds=est(0.07)),
            Cost(name="step", seconds=est(0.01)),
        ),
    )
    chart = costs(msgspec.structs.replace(recorded("remote"), proof=proof))

    assert chart is not None
    assert chart.saying.startswith("Most of it is CPU time of samples and samples that wait: 70 ms")
    assert [part.amount for part in chart.stacks[0].parts] == pytest.approx([0.02, 0.07, 0.01])


@pytest.mark.parametrize(
    ("name", "saying"),
    [
        ("all_cores_compute", "More workers would not help: the cores allow at most"),
        ("big_model", "More workers would not help: your step allows at most"),
        ("one_worker_computes", "num_workers=2 would give"),
    ],
)
def test_the_curve_says_where_more_workers_stop_to_help(name: str, saying: str) -> None:
    curve = workers_curve(recorded(name))

    assert curve is not None
    assert curve.saying.startswith(saying)


@pytest.mark.parametrize("name", NAMES)
def test_every_finding_has_its_page_and_every_headline_is_a_sentence(name: str) -> None:
    shown = page(recorded(name))

    assert all(finding.code in {rule.code for rule in shown.rules} for finding in shown.findings)
    for section in shown.sections:
        for chart in section.charts:
            assert chart.saying == "" or chart.saying.endswith(".")


@pytest.mark.parametrize("code", ["", "WF999", "../WF201", "wf201", "WF201.md", "WF201\n"])
def test_what_is_no_code_has_no_page(code: str) -> None:
    assert rule_page(code) is None


@pytest.mark.long
def test_a_million_batches_make_a_page_of_the_same_size_within_ten_seconds() -> None:
    report = recorded("uneven_batches")
    spans = tuple(
        msgspec.structs.replace(
            report.trace.spans[n % len(report.trace.spans)],
            number=n,
            asked_ns=n * 10**7,
            got_ns=n * 10**7 + 4 * 10**6,
        )
        for n in range(1_000_000)
    )
    trace = msgspec.structs.replace(report.trace, spans=spans)
    many = msgspec.structs.replace(report, trace=trace)
    began_s = time.perf_counter()
    drawn = render_html(many)

    assert time.perf_counter() - began_s < 10
    assert len(drawn) < 1.02 * len(render_html(report))


def test_what_is_won_between_epochs_is_no_shorter_step() -> None:
    labels = [bar.label for bar in step_bars(STARVED, view(STARVED).split)]
    bound, *others = STARVED.verdict.findings
    respawn = msgspec.structs.replace(bound, code="WF601")
    verdict = msgspec.structs.replace(STARVED.verdict, findings=(respawn, *others))
    report = msgspec.structs.replace(STARVED, verdict=verdict)

    without = [bar.label for bar in step_bars(report, view(report).split)]

    assert labels[1] == bound.remedies[0].change
    assert without == [labels[0], labels[-1]]
