"""A report as one page of HTML: opens from disk, needs no network, light and dark.

Everything from the run (file names, class names, commands) is text that somebody else wrote: the
template escapes it, and figures travel as JSON in which "<" cannot occur.
"""

import time
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from wellfed._report.compare import contrast
from wellfed._report.drawing import draw
from wellfed._report.figures import Card
from wellfed._report.page import Page, page
from wellfed._report.view import view
from wellfed.records import Estimate, Report, amounts

__all__ = ["HtmlRenderer", "card_parts", "render_compare_html", "render_html", "template"]

PAGES = "wellfed._report.pages"


@dataclass(frozen=True)
class HtmlRenderer:
    """Shows a report as a page of HTML. Implements `seams.Renderer`."""

    def render(self, report: Report) -> str:
        """The whole page, in one string."""
        return render_html(report)


def render_html(report: Report) -> str:
    """A report as a self-contained page of HTML.

    Args:
        report: what to show.
    """
    shown = page(report)
    drawn = template("report.html.j2").render(
        page=shown,
        card=shown.card,
        when=time.strftime("%Y-%m-%d %H:%M", time.gmtime(shown.created_unix_s)),
        figures=_figures(shown),
        split=_split(shown.card),
        plotly=Markup(_plotly()),
        css=Markup(_text("report.css")),
        js=Markup(_text("report.js")),
    )
    return _printable(drawn)


def render_compare_html(before: Report, after: Report, predicted: Estimate | None = None) -> str:
    """Two reports side by side as a self-contained page of HTML.

    Args:
        before: the run before a change.
        after: the run after it.
        predicted: the gain that was predicted for the change, if one was.
    """
    cards = (view(before), view(after))
    longest_s = max(card.split.period.value if card.split else 0.0 for card in cards)
    drawn = template("compare.html.j2").render(
        seen=contrast(before, after, predicted),
        runs=[
            (when, card, _split(card, longest_s))
            for when, card in zip(("before", "after"), cards, strict=True)
        ],
        css=Markup(_text("report.css")),
    )
    return _printable(drawn)


def _printable(drawn: str) -> str:
    """The page without lone surrogates: bytes of a file name that are no UTF-8."""
    return drawn.encode("utf-8", "backslashreplace").decode()


def card_parts(report: Report) -> dict[str, Any]:
    """What a template needs to draw the card alone."""
    card = view(report)
    return {"card": card, "split": _split(card), "ceiling": _ceiling(card)}


def _figures(shown: Page) -> dict[str, Any]:
    return {chart.name: draw(chart) for part in shown.sections for chart in part.charts}


def _split(card: Card, longest_s: float | None = None) -> dict[str, Any] | None:
    """The step bar: words, and shares of the longest step; of this one where none is given."""
    split = card.split
    if split is None or split.period.value <= 0:
        return None
    whole, waiting, yours = amounts.parts(split.period, split.waiting, split.yours)
    share = min(1.0, max(0.0, split.waiting.value / split.period.value))
    scale = split.period.value / (longest_s or split.period.value)
    return {
        "whole": whole,
        "waiting": waiting,
        "yours": yours,
        "waiting_share": share * scale,
        "yours_share": (1.0 - share) * scale,
        "rate": f"{split.samples_per_s:,.0f} samples/s" if split.samples_per_s else "",
    }


def _ceiling(card: Card) -> str:
    most = card.ceiling
    if most is None:
        return ""
    if most.value < 1.02:
        return "No faster even if data were free."
    return f"If data were free: {amounts.gain(most.value)} ({amounts.gain_between(most)})."


@cache
def template(name: str) -> jinja2.Template:
    """One of the pages, which escapes all that is put into it."""
    # Strict: a name that is not there is a mistake of ours, and must not become an empty line.
    made = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["share"] = amounts.share
    made.filters["duration"] = amounts.duration
    return made.from_string(_text(name))


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    source: str = get_plotlyjs()
    return source


def _text(name: str) -> str:
    return files(PAGES).joinpath(name).read_text(encoding="utf-8")
