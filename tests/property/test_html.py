"""Whatever a run was called, its page has the elements of the template and no others."""

import re
from html.parser import HTMLParser

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from recorded import recorded
from wellfed._report.html import render_html
from wellfed.records import Report, Site

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "{{ 7 * 7 }} {% raw %}",
    "'; drop table;--",
    "\u2028\u0000&lt;<!--",
]
texts = st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=40))

PLOTLY = re.compile(r"<script>/\*.*?</script>", re.DOTALL)


class Elements(HTMLParser):
    """The elements of a page with the names of their attributes, without plotly's source."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(PLOTLY.sub("", page, count=1))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


def named(text: str) -> Report:
    """A real report in which everything that somebody else wrote is this text."""
    report = recorded("five_batches")
    workload = msgspec.structs.replace(report.workload, dataset=text)
    trace = msgspec.structs.replace(
        report.trace, loader=text, site=Site(file=text, line=1), failures=(text,)
    )
    verdict = msgspec.structs.replace(report.verdict, headline=text, abstains="")
    return msgspec.structs.replace(
        report, workload=workload, trace=trace, verdict=verdict, command=(text,), unread=(text,)
    )


@given(text=texts)
@settings(max_examples=30, deadline=None)
def test_no_text_of_a_run_becomes_markup(text: str) -> None:
    harmless = Elements(render_html(named("x")))

    assert Elements(render_html(named(text))).found == harmless.found


@given(text=texts)
@settings(max_examples=30, deadline=None)
def test_no_text_of_a_run_becomes_markup_in_a_notebook(text: str) -> None:
    harmless = Elements(named("x")._repr_html_())

    assert Elements(named(text)._repr_html_()).found == harmless.found


def test_the_page_asks_for_nothing_beyond_itself() -> None:
    page = PLOTLY.sub("", render_html(recorded("uneven_batches")), count=1)

    assert len(page) < 500_000  # what is left without plotly's own source
    assert not re.search(r"(src|href)\s*=|@import|url\(|https?://", page)
