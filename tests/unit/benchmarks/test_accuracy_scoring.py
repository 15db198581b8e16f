"""Counts over outcomes: each run is counted once, where it belongs."""

from pathlib import Path
from typing import Any

import pytest
from planted.outcome import CONTROL, NEITHER, Outcome
from planted.page import BEGIN, END, page_with, right_answer, tables, told
from planted.scoring import confusion, interval, of_thumbs, score


def outcome(label: str = "latency_bound", verdict: str = "latency_bound", **more: Any) -> Outcome:
    given: dict[str, Any] = {
        "key": f"0/{label}",
        "cause": "" if label == CONTROL else label,
        "severity": 0.5,
        "plant_cost": 0.5,
        "data_cost": 0.5,
        "findings": (verdict,),
        "share_in_next": 0.5,
        "seconds": 8.0,
        "watched_s": 6.0,
    }
    return Outcome(label=label, verdict=verdict, **(given | more))


def test_a_verdict_is_right_only_with_the_name_of_the_cause() -> None:
    counts = score([outcome(), outcome(verdict="storage_bound")])

    assert (counts.positives, counts.top1, counts.wrong) == (2, 1, 1)


def test_the_name_in_second_place_counts_apart() -> None:
    second = outcome(verdict="storage_bound", findings=("storage_bound", "latency_bound"))
    third = outcome(verdict="a", findings=("a", "b", "latency_bound"))
    counts = score([outcome(), second, third])

    assert (counts.top1, counts.top2) == (1, 2)


def test_no_verdict_is_neither_right_nor_wrong() -> None:
    counts = score([outcome(verdict="too_noisy"), outcome(CONTROL, "not_enough_evidence")])

    assert counts.abstained == {"too_noisy": 1, "not_enough_evidence": 1}
    assert (counts.top1, counts.wrong, counts.alarms, counts.bound_right) == (0, 0, 0, 0)


def test_a_control_that_is_told_of_a_bottleneck_is_an_alarm() -> None:
    counts = score([outcome(CONTROL, "cpu_saturated"), outcome(CONTROL, "consumer_bound")])

    assert (counts.controls, counts.alarms, counts.quiet, counts.bound_right) == (2, 1, 1, 1)


def test_the_wrong_resource_still_says_rightly_that_data_is_the_limit() -> None:
    counts = score([outcome(verdict="storage_bound"), outcome(verdict="consumer_bound")])

    assert counts.bound_right == 1


def test_a_run_without_a_right_answer_counts_nowhere_else() -> None:
    odd = outcome(NEITHER, cause="latency_bound")
    counts = score([odd])

    assert (counts.neither, counts.weak) == (1, 1)
    assert (counts.positives, counts.controls, counts.seconds) == (0, 0, ())
    assert confusion([odd]) == {}


def test_a_weak_plant_that_became_a_control_is_told() -> None:
    counts = score([outcome(CONTROL, "consumer_bound", cause="latency_bound")])

    assert (counts.controls, counts.weak) == (1, 1)


def test_a_gain_is_close_within_fifteen_per_cent_of_the_measured_one() -> None:
    close = outcome(predicted=(1.15, 1.1, 1.2), measured=1.0)
    far = outcome(predicted=(2.4, 1.9, 2.9), measured=2.0)
    counts = score([close, far, outcome(), outcome(predicted=(2.0, 1.0, 3.0))])

    assert counts.gains == ((1.15, 1.0), (2.4, 2.0))
    assert (counts.gains_close, counts.gains_inside) == (1, 1)


def test_few_runs_say_little() -> None:
    assert interval(10, 10) == pytest.approx((0.787, 1.0), abs=1e-3)
    assert interval(100, 100) == pytest.approx((0.974, 1.0), abs=1e-3)
    assert interval(5, 10) == pytest.approx((0.269, 0.731), abs=1e-3)
    assert interval(0, 10)[0] == 0


def test_gains_are_not_judged_where_the_verdict_was_wrong() -> None:
    counts = score([outcome(verdict="cpu_saturated", predicted=(2.0, 1.9, 2.1), measured=2.0)])

    assert counts.gains == ()


def test_rules_of_thumb_are_asked_whether_data_is_the_limit() -> None:
    runs = [
        outcome(share_in_next=0.15),
        outcome(CONTROL, "consumer_bound", share_in_next=0.12),
        outcome(CONTROL, "consumer_bound", share_in_next=0.01),
    ]
    five, _, _, ten, twenty = of_thumbs(runs)

    assert (five.right, five.missed, five.alarms, five.of) == (2, 0, 1, 3)
    assert (ten.right, ten.missed, ten.alarms) == (2, 0, 1)
    assert (twenty.right, twenty.missed, twenty.alarms) == (2, 1, 0)


def test_the_matrix_counts_every_verdict_under_its_right_answer() -> None:
    runs = [outcome(), outcome(), outcome(verdict="too_noisy"), outcome(CONTROL, "consumer_bound")]

    assert confusion(runs) == {
        "latency_bound": {"latency_bound": 2, "too_noisy": 1},
        CONTROL: {"consumer_bound": 1},
    }


def test_the_tables_replace_what_stood_between_the_marks() -> None:
    facts = {
        "date": "2026-11-24",
        "machine": "a machine",
        "command": "a command",
        "drawn": 85,
    }
    runs = [outcome(predicted=(1.1, 1.0, 1.2), measured=1.1), outcome(CONTROL, "consumer_bound")]
    text = tables(runs, [outcome(verdict="too_noisy")], facts)
    page = page_with(text, f"before\n{BEGIN}old\n{END}after\n")

    assert page == f"before\n{BEGIN}\n{text}\n{END}after\n"
    assert "| Named rightly by the verdict | 1 of 1: 100% (27 to 100) |" in text
    assert "| `latency_bound` WF301 |" in text
    assert "0 named rightly, 1 without a verdict, 0 wrong" in text
    assert page_with(text, page) == page


def test_the_page_has_the_marks() -> None:
    page = Path(__file__).parents[3] / "docs" / "explanation" / "accuracy.md"
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)

    assert all((before, begin, end, after))


def test_a_line_about_a_run_says_what_would_have_been_right() -> None:
    assert right_answer(outcome(CONTROL)) == "consumer_bound"
    assert "storage_bound, not latency_bound" in told(outcome(verdict="storage_bound"))
    assert ", not" not in told(outcome())
