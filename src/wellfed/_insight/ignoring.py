"""Findings that the user does not want to hear of again."""

from collections.abc import Iterable

import msgspec

from wellfed._insight.binding import without
from wellfed._insight.codes import names_of
from wellfed.records import Report

__all__ = ["ignoring"]


def ignoring(report: Report, asked: Iterable[str]) -> Report:
    """The report without these findings; if one of them was the verdict, the next one is.

    Args:
        report: with all that was found.
        asked: names or codes of findings: "startup_respawn", "WF601".

    Raises:
        UsageError: there is no such finding; the message says what is near.
    """
    return msgspec.structs.replace(report, verdict=without(report.verdict, names_of(asked)))
