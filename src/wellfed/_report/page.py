"""The whole report as data: the card, the pictures, and the tables below them."""

from collections.abc import Callable

from wellfed._report import charting, history
from wellfed._report.charts import Chart
from wellfed._report.figures import Card, Row
from wellfed._report.machine import machine_rows
from wellfed._report.titles import title
from wellfed._report.view import view
from wellfed.records import Finding, Report
from wellfed.records._record import Record
from wellfed.records.amounts import share

__all__ = ["FindingShown", "Page", "Section", "page"]


class Section(Record, frozen=True, kw_only=True):
    """Pictures that answer one question."""

    title: str
    charts: tuple[Chart, ...]


class FindingShown(Record, frozen=True, kw_only=True):
    """A finding with its evidence, and where more is said about it."""

    code: str
    name: str
    title: str
    sentence: str
    cost: str
    evidence: tuple[str, ...]
    bound: bool


class Page(Record, frozen=True, kw_only=True):
    """All that the report shows."""

    card: Card
    command: str
    created_unix_s: float
    sections: tuple[Section, ...]
    findings: tuple[FindingShown, ...]
    facts: tuple[tuple[Row, ...], ...]
    untold: tuple[str, ...]
    """What could not be read, or was not tested."""


Maker = Callable[[Report], Chart | None]

SECTIONS: tuple[tuple[str, tuple[Maker, ...]], ...] = (
    ("Where the time goes", (charting.stages, history.lanes)),
    ("What other settings would do", (charting.workers_curve, charting.settings_map)),
    ("How the run went", (history.waits, history.buffer, history.batch_times)),
    ("What the machine did", (history.cores, history.storage, charting.memory)),
)


def page(report: Report) -> Page:
    """Everything to be drawn, decided."""
    sections = (
        Section(title=name, charts=tuple(c for make in makers if (c := make(report)) is not None))
        for name, makers in SECTIONS
    )
    return Page(
        card=view(report),
        command=" ".join(report.command),
        created_unix_s=report.created_unix_s,
        sections=tuple(section for section in sections if section.charts),
        findings=tuple(_shown(finding, report.verdict.name) for finding in report.verdict.findings),
        facts=machine_rows(report.machine),
        untold=tuple(dict.fromkeys((*report.unread, *report.trace.failures))),
    )


def _shown(finding: Finding, bound: str) -> FindingShown:
    cost = finding.cost_share.value
    return FindingShown(
        code=finding.code,
        name=finding.name,
        title=title(finding.name),
        sentence=finding.sentence,
        cost=f"costs {share(cost)} of the time" if cost > 0 else "",
        evidence=tuple(one.text for one in finding.evidence),
        bound=finding.name == bound,
    )
