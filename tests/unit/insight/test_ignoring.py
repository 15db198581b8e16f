"""Findings that the user does not want to hear of again."""

import pytest

from recorded import NAMES, recorded
from wellfed._insight.codes import names_of
from wellfed._insight.ignoring import ignoring
from wellfed._report.text import render_text
from wellfed.errors import UsageError
from wellfed.records import Report

VERDICTS = [(name, recorded(name).verdict) for name in NAMES]
SEVERAL = [name for name, one in VERDICTS if len(one.findings) > 1 and not one.abstains]


def bound(report: Report) -> str:
    return report.verdict.findings[0].name


@pytest.mark.parametrize("name", SEVERAL)
def test_without_its_verdict_a_report_has_another_finding_as_its_verdict(name: str) -> None:
    report = recorded(name)
    first = bound(report)

    left = ignoring(report, [first]).verdict

    assert left.ignored == (first,)
    assert left.name == left.findings[0].name != first
    assert left.headline.startswith(left.findings[0].sentence)
    assert len(left.findings) == len(report.verdict.findings) - 1


def test_what_is_ignored_is_named_on_the_card() -> None:
    report = recorded("short_epochs")

    card = render_text(ignoring(report, [bound(report)]), width=80)

    assert f"as asked: {bound(report)}" in card


def test_one_that_is_not_the_verdict_goes_without_changing_it() -> None:
    report = recorded(SEVERAL[0])
    other = report.verdict.findings[-1].name

    left = ignoring(report, [other]).verdict

    assert (left.name, left.headline) == (report.verdict.name, report.verdict.headline)
    assert other not in {one.name for one in left.findings}


def test_a_report_without_any_finding_left_has_no_verdict_and_says_why() -> None:
    report = recorded("short_epochs")

    left = ignoring(report, [one.name for one in report.verdict.findings]).verdict

    assert left.name == "not_enough_evidence"
    assert left.abstains.startswith("All that was found was to be ignored: ")
    assert not left.findings


def test_what_was_not_found_changes_nothing_when_ignored() -> None:
    report = recorded("short_epochs")

    assert ignoring(report, ["WF805"]) == report


def test_findings_go_by_code_or_by_name() -> None:
    assert names_of(["WF601", "swap", "wf101"]) == {"startup_respawn", "swap", "consumer_bound"}


@pytest.mark.parametrize(
    ("asked", "hint"), [("WF6O1", "WF601"), ("startup_respwan", "startup_respawn")]
)
def test_a_name_that_is_none_gets_the_nearest_one(asked: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"no finding '{asked}' to ignore. Did you mean {hint}"):
        names_of([asked])
