"""The documentation's page of each rule, as a part of the page: it opens without a network."""

import re
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt

from wellfed._report.titles import title
from wellfed.records._record import Record

__all__ = ["RulePage", "rule_page"]

CODE = re.compile(r"WF\d{3}")

EXAMPLE = "An example that triggers it"
"""The section left out: its code is a file of the repository."""

LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


class RulePage(Record, frozen=True, kw_only=True):
    """What the documentation says of a finding."""

    code: str
    title: str
    html: str
    """Its sections, made from a text of our own: safe to be put into a page as it is."""


@cache
def rule_page(code: str) -> RulePage | None:
    """The page of that code; None for a code that has none here.

    Args:
        code: as a report says it, so perhaps anything.
    """
    folder = _folder()
    if folder is None or CODE.fullmatch(code) is None:
        return None
    path = folder / f"{code}.md"
    if not path.is_file():
        return None
    head, *sections = path.read_text(encoding="utf-8").split("\n## ")
    name = head.partition("\n")[0].partition(": ")[2]
    told = [head.partition("\n")[2], *(f"### {one}" for one in sections if EXAMPLE not in one)]
    text = LINK.sub(_unlinked, "\n".join(told))
    return RulePage(code=code, title=title(name), html=MarkdownIt().render(text))


def _unlinked(link: re.Match[str]) -> str:
    """The words of a link, which leads to a file that is not in this page."""
    return link[1]


def _folder() -> Path | None:
    """Where the pages are: inside an installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "_rules", here.parents[1] / "docs" / "reference" / "rules"):
        if folder.is_dir():
            return folder
    return None
