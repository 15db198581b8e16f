"""`wellfed diagnose`: run a script, watch it, print the card."""

from typing import TYPE_CHECKING, Annotated

import typer

from wellfed._budgets import DEEP_S
from wellfed._cli.options import (
    Command,
    Export,
    Html,
    Ignored,
    Json,
    Module,
    Timeline,
    script_of,
)
from wellfed._cli.scripts import own_end, own_failure, watched
from wellfed._insight.codes import names_of
from wellfed._report.files import Files
from wellfed._terminal import card, speaks, tell
from wellfed.errors import NoVerdict

if TYPE_CHECKING:
    from wellfed._attach import Ended, Limits, Observation
    from wellfed.records import Report

__all__ = ["diagnose"]

ABSTAINED = 3
SECONDS = 60.0


def diagnose(
    command: Command = None,
    module: Module = None,
    seconds: Annotated[
        float, typer.Option(min=1.0, help="Watch at most so long after the first batch.")
    ] = SECONDS,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Watch so many batches, within --seconds.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Let the script run to its end.")] = False,
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Then confirm the verdict by experiments on its loader."),
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Show meanwhile what `wellfed top` shows.")
    ] = False,
    json: Json = None,
    html: Html = None,
    timeline: Timeline = None,
    export: Export = None,
    ignore: Ignored = None,
) -> None:
    """Run a training script unmodified and say which resource bounds it."""
    target, args = script_of(command, module)
    files = Files(json=json, html=html, timeline=timeline)
    files.check_writable()
    ignored = names_of(ignore or ())
    from wellfed._attach import Limits

    limits = Limits(seconds=seconds, steps=steps, full=full)
    then = f"experiments on a copy of its loader follow, for at most {DEEP_S:g} s" if deep else ""
    observation, ended = watched(target, args, module, limits, then, live=live, export=export or ())
    again = _again(limits, module, command or [], deep=deep)
    raise typer.Exit(_show(observation, again, files, ended, ignored, deep=deep))


def _again(
    limits: "Limits", module: str | None, script: list[str], *, deep: bool = False
) -> list[str]:
    """The command that would watch the same again; the report proposes a longer one by it."""
    options = [] if limits.seconds == SECONDS else ["--seconds", f"{limits.seconds:g}"]
    options += [] if limits.steps is None else ["--steps", str(limits.steps)]
    options += ["--full"] if limits.full else []
    options += ["--deep"] if deep else []
    options += [] if module is None else ["-m", module]
    return ["wellfed", "diagnose", *options, *script]


def _show(
    observation: "Observation",
    command: list[str],
    files: Files,
    ended: "Ended",
    ignored: frozenset[str],
    *,
    deep: bool,
) -> int:
    """Print the card of what was seen, and say what to exit with."""
    failed = ended.code != 0 and observation.ended_because != "stopped"
    try:
        report = observation.diagnose(command)
        if deep and not failed and speaks():
            report = _confirm(observation, report)
        if ignored:
            from wellfed._insight.ignoring import ignoring

            report = ignoring(report, ignored)
    except NoVerdict:
        if failed:
            return own_failure(ended)
        if speaks():
            raise
        return 0
    if speaks():
        card(report)
        files.write(report, tell)
    if failed:
        return own_failure(ended)
    if ended.error is not None:
        own_end(ended)
        tell("wellfed: the script raised this while it was being stopped.")
    # A launcher kills all ranks when one of them fails: only the one that speaks may abstain.
    return ABSTAINED if report.verdict.abstains and speaks() else 0


def _confirm(observation: "Observation", report: "Report") -> "Report":
    """The report after experiments; after Ctrl-C, as it was."""
    try:
        return observation.confirm(report, budget_s=DEEP_S, ended=True, tell=_tell_experiment)
    except KeyboardInterrupt:
        tell("wellfed: experiments interrupted; this is what watching showed.")
        return report


def _tell_experiment(text: str) -> None:
    tell(f"wellfed: {text}.")
