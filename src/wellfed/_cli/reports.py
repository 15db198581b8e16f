"""`wellfed report` and `wellfed compare`: what was saved, shown. Neither needs torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wellfed._cli.options import Html, Timeline
from wellfed._report.files import Files
from wellfed._sizes import read_share
from wellfed._terminal import card, compared, tell
from wellfed.errors import NoVerdict

if TYPE_CHECKING:
    from wellfed.records import Report

__all__ = ["compare", "report"]

SLOWER = 4


def report(
    file: Annotated[Path, typer.Argument(help="A report saved with --json.")],
    html: Html = None,
    timeline: Timeline = None,
    profile: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Merge this trace of torch.profiler into --timeline."),
    ] = None,
) -> None:
    """Show a saved report: as a card, as a page, or as a timeline. Needs no torch."""
    from wellfed.records import load

    files = Files(html=html, timeline=timeline, profile=profile)
    files.check_writable()
    opened: Report = load(file)
    if files.asked:
        files.write(opened, tell)
    else:
        card(opened)


def compare(
    before: Annotated[Path, typer.Argument(help="A report saved with --json.")],
    after: Annotated[Path, typer.Argument(help="A later one.")],
    html: Html = None,
    fail_if_slower: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help='Exit with 4 if it is slower by more, e.g. "5%".'),
    ] = None,
) -> None:
    """Say what changed between two saved reports: settings, machine, and time."""
    from wellfed._report.compare import contrast, slower_than
    from wellfed.records import load

    share = None if fail_if_slower is None else read_share(fail_if_slower)
    Files(html=html).check_writable()
    was: Report = load(before)
    now: Report = load(after)
    seen = contrast(was, now)
    compared(was, now)
    Files(html=html).write_compared(was, now, tell)
    if share is not None and seen.measured is None:
        raise NoVerdict("one of the runs saw too few batches to say whether the other is slower.")
    if share is not None and slower_than(seen, share):
        tell(f"wellfed: slower by more than {fail_if_slower}.")
        raise typer.Exit(SLOWER)
