"""The whole report as data: the card, the pictures, and the tables below them."""

from collections.abc import Callable

from wellfed._report import charting, history, tables
from wellfed._report.charts import Chart
from wellfed._report.figures import Advice, Card, Row
from wellfed._report.machine import machine_rows
from wellfed._report.rulebook import RulePage, rule_page
from wellfed._report.stepping import StepBar, step_bars
from wellfed._report.tables import Table
from wellfed._report.titles import title
from wellfed._report.tuned import IMPORTS
from wellfed._report.view import view
from wellfed.records import Answer, Finding, Report
from wellfed.records._record import Record
from wellfed.records.amounts import gain, gain_between, share, size

__all__ = ["FindingShown", "Page", "Section", "page"]


class Section(Record, frozen=True, kw_only=True):
    """Pictures and tables that answer one question."""

    title: str
    charts: tuple[Chart, ...]
    tables: tuple[Table, ...] = ()


class FindingShown(Record, frozen=True, kw_only=True):
    """A finding with its evidence, and where more is said about it."""

    code: str
    name: str
    title: str
    sentence: str
    cost: str
    evidence: tuple[str, ...]
    bound: bool
    remedies: tuple[str, ...]
    """What to do about it, best first."""
    has_page: bool
    """Whether the page holds what the documentation says of it."""


class Page(Record, frozen=True, kw_only=True):
    """All that the report shows."""

    card: Card
    steps: tuple[StepBar, ...]
    """The step as it was and as it would be, on one scale."""
    command: str
    created_unix_s: float
    sections: tuple[Section, ...]
    findings: tuple[FindingShown, ...]
    answers: tuple[Advice, ...]
    """What tuning found to be the best settings, for each loader."""
    rules: tuple[RulePage, ...]
    """What the documentation says of what was found."""
    facts: tuple[tuple[Row, ...], ...]
    untold: tuple[str, ...]
    """What could not be read, or was not tested."""


Maker = Callable[[Report], Chart | None]

TableMaker = Callable[[Report], Table | None]

SECTIONS: tuple[tuple[str, tuple[Maker, ...], tuple[TableMaker, ...]], ...] = (
    ("Where the time goes", (charting.stages, history.lanes), ()),
    (
        "What other settings would do",
        (charting.workers_curve, charting.settings_map),
        (tables.settings,),
    ),
    ("What the experiments showed", (charting.costs,), (tables.experiments,)),
    ("The ranks side by side", (), (tables.ranks,)),
    ("How the run went", (history.waits, history.buffer, history.batch_times), ()),
    ("What the machine did", (history.cores, history.storage, charting.memory), ()),
)


def page(report: Report) -> Page:
    """Everything to be drawn, decided."""
    card = view(report)
    verdict = report.verdict
    sections = (
        Section(
            title=name,
            charts=tuple(chart for make in charts if (chart := make(report)) is not None),
            tables=tuple(table for tabulate in lists if (table := tabulate(report)) is not None),
        )
        for name, charts, lists in SECTIONS
    )
    codes = dict.fromkeys((card.code, *(one.code for one in verdict.findings)))
    return Page(
        card=card,
        steps=step_bars(report, card.split),
        command=" ".join(report.command),
        created_unix_s=report.created_unix_s,
        sections=tuple(section for section in sections if section.charts or section.tables),
        findings=tuple(_shown(finding, verdict.name) for finding in verdict.findings),
        answers=tuple(_answer(one) for one in (report.tuning.answers if report.tuning else ())),
        rules=tuple(told for code in codes if (told := rule_page(code)) is not None),
        facts=machine_rows(report.machine),
        untold=tuple(dict.fromkeys((*report.unread, *report.trace.failures))),
    )


def _answer(answer: Answer) -> Advice:
    """The best settings of one loader, as something to do."""
    measured = answer.gain.low > 1 or answer.gain.high < 1
    won = f"{gain(answer.gain.value)} measured, {gain_between(answer.gain)}"
    memory = f"workers' memory {size(answer.peak_bytes)}" if answer.peak_bytes is not None else ""
    return Advice(
        change=f"{IMPORTS[answer.loader]}\nDataLoader(..., {answer.change})",
        gain=won if measured else f"as fast as your settings ({gain_between(answer.gain)})",
        side_effects=(memory,) if memory else (),
        why=answer.why,
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
        remedies=tuple(one.change for one in finding.remedies),
        has_page=rule_page(finding.code) is not None,
    )
