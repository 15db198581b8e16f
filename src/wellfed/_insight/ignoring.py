"""Findings that the user does not want to hear of again."""

import difflib
from collections.abc import Iterable

import msgspec

from wellfed._insight.binding import without
from wellfed._insight.rules import CODES
from wellfed.errors import UsageError
from wellfed.records import Report

__all__ = ["ignoring", "names_of"]


def ignoring(report: Report, asked: Iterable[str]) -> Report:
    """The report without these findings; if one of them was the verdict, the next one is.

    Args:
        report: with all that was found.
        asked: names or codes of findings: "startup_respawn", "WF601".

    Raises:
        UsageError: there is no such finding; the message says what is near.
    """
    return msgspec.structs.replace(report, verdict=without(report.verdict, names_of(asked)))


def names_of(asked: Iterable[str]) -> frozenset[str]:
    """Names of findings, by name or by code.

    Raises:
        UsageError: there is none of that name.
    """
    by_code = {code: name for name, code in CODES.items()}
    names = []
    for one in asked:
        name = by_code.get(one.upper(), one)
        if name not in CODES:
            near = difflib.get_close_matches(one, [*CODES, *by_code], n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UsageError(
                f"there is no finding {one!r} to ignore.{hint} "
                "Give the name or the code that the card shows, such as WF601."
            )
        names.append(name)
    return frozenset(names)
