"""Whatever a run was called, what is shown of it has our own elements and lines and no others."""

import json
import re
from html.parser import HTMLParser

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

import wellfed
from recorded import recorded
from wellfed._report.compare import render_compare
from wellfed._report.html import render_compare_html, render_html
from wellfed._report.timeline import timeline
from wellfed.records import (
    Answer,
    Estimate,
    Evidence,
    Fact,
    Finding,
    HotLine,
    LoaderSeen,
    Measured,
    Plan,
    Proof,
    Remedy,
    Report,
    Site,
    Trial,
    Tuning,
    Vetoed,
    decode,
    encode,
)

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "{{ 7 * 7 }} {% raw %}",
    "'; drop table;--",
    "\u2028\u0000&lt;<!--",
    "\x1b[2J\x1b]0;mine\x07\r\n\u202egnp.exe",
    "a name that is no UTF-8 \udcff",
    "../../../etc/passwd",
]
texts = st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=40))

PLOTLY = re.compile(r"<script>/\*.*?</script>", re.DOTALL)
OTHER = "a name that no other run of these tests can have had"
ONE = Estimate(value=1.0, low=0.9, high=1.1, n=9)
MOVES_THE_CURSOR = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Elements(HTMLParser):
    """The elements of a page with the names of their attributes, without plotly's source."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.links: set[str] = set()
        self.feed(PLOTLY.sub("", page, count=1))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))
        self.links |= {value or "" for name, value in attrs if name in ("href", "src")}


def named(text: str) -> Report:
    """A real report in which everything that somebody else wrote is this text."""
    report = recorded("five_batches")
    trials = tuple(
        Trial(name=f"torch: {text}", kind=text, question=text, plan=Plan(), outcome=outcome)
        for outcome in (Vetoed(why=text), Measured(seconds=ONE, batches=9, effect=ONE))
    )
    finding = Finding(
        code=text,
        name=text,
        sentence=text,
        evidence=(Evidence(text=text),),
        cost_share=ONE,
        remedies=(Remedy(change=text, why=text, reproducibility=text, gain=ONE),),
    )
    answer = Answer(loader="torch", plan=Plan(), seconds=ONE, gain=ONE, change=text, why=text)
    return msgspec.structs.replace(
        report,
        wellfed_version=text,
        machine=msgspec.structs.replace(report.machine, platform=Fact(value=text, how=text)),
        workload=msgspec.structs.replace(report.workload, dataset=text),
        trace=msgspec.structs.replace(
            report.trace,
            loader=text,
            site=Site(file=text, line=1, function=text),
            failures=(text,),
            others=(LoaderSeen(dataset=text, workers=1, batches=1, wait_s=1.0),),
            hot_lines=(HotLine(file=text, line=1, function=text, library=text, samples=1),),
        ),
        verdict=msgspec.structs.replace(
            report.verdict,
            name=text,
            headline=text,
            abstains="",
            findings=(finding,),
            untested=(f"{text}: {text}",),
        ),
        proof=Proof(trials=trials, period_s=ONE),
        tuning=Tuning(present=Plan(), trials=trials, answers=(answer,)),
        command=(text,),
        unread=(text,),
    )


@given(text=texts)
@settings(max_examples=30, deadline=None)
def test_no_text_of_a_run_becomes_markup(text: str) -> None:
    harmless, hostile = Elements(render_html(named("x"))), Elements(render_html(named(text)))

    assert hostile.found == harmless.found
    assert hostile.links == harmless.links


@given(text=texts)
@settings(max_examples=30, deadline=None)
def test_no_text_of_two_runs_becomes_markup(text: str) -> None:
    harmless = Elements(render_compare_html(named("x"), named(OTHER)))

    assert Elements(render_compare_html(named(text), named(OTHER))).found == harmless.found


@given(text=texts)
@settings(max_examples=50, deadline=None)
def test_no_text_of_a_run_moves_the_cursor_or_breaks_the_terminals_encoding(text: str) -> None:
    report = named(text)
    for card in (wellfed.render(report), render_compare(report, recorded("five_batches"))):
        assert MOVES_THE_CURSOR.search(card) is None
        card.encode()


@given(text=texts)
@settings(max_examples=30, deadline=None)
def test_a_timeline_is_json_whatever_the_run_was_called(text: str) -> None:
    drawn = json.dumps(timeline(named(text)))

    drawn.encode()
    assert json.loads(drawn)["metadata"]["headline"] == text


@given(text=texts)
@settings(max_examples=30, deadline=None)
def test_a_report_can_be_saved_and_read_whatever_the_run_was_called(text: str) -> None:
    again = decode(encode(named(text)), Report)

    assert again.command == (text.encode("utf-8", "backslashreplace").decode(),)


@given(text=texts)
@settings(max_examples=30, deadline=None)
def test_no_text_of_a_run_becomes_markup_in_a_notebook(text: str) -> None:
    harmless = Elements(named("x")._repr_html_())

    assert Elements(named(text)._repr_html_()).found == harmless.found


def test_the_page_asks_for_nothing_beyond_itself() -> None:
    page = PLOTLY.sub("", render_html(recorded("uneven_batches")), count=1)

    assert len(page) < 500_000  # what is left without plotly's own source
    assert not re.search(r"src\s*=|@import|url\(|https?://", page)
    assert all(re.fullmatch(r"#WF\d{3}", link) for link in Elements(page).links)


def test_every_link_leads_to_what_the_documentation_says_of_the_finding() -> None:
    page = render_html(recorded("uneven_batches"))
    links = Elements(page).links

    assert links
    assert all(f'<details id="{link[1:]}">' in page for link in links)
