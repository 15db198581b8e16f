"""`wellfed tune`: run a script, watch it, then try other settings of its loader."""

from pathlib import Path
from typing import Annotated

import typer

from wellfed._budgets import TUNE_S
from wellfed._cli.options import Command, Html, Json, Module, script_of
from wellfed._cli.scripts import own_failure, watched
from wellfed._report.files import Files
from wellfed._sizes import read_size
from wellfed._terminal import speaks, tell, tuned

__all__ = ["tune"]


def tune(
    command: Command = None,
    module: Module = None,
    budget: Annotated[
        float, typer.Option(min=5.0, help="Seconds that all trials may take.")
    ] = TUNE_S,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="What its workers may take, e.g. 8GiB.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1.0, help="Watch the script at most so long before.")
    ] = 20.0,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=A,B,...",
            help="Run every combination instead of searching: num_workers=0,2,4 "
            "prefetch_factor=2,4 pin_memory=0,1 multiprocessing_context=fork,spawn "
            "loader=torch,wellfed.",
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Save the answer, for DataLoader(..., plan=FILE)."),
    ] = None,
    json: Json = None,
    html: Html = None,
) -> None:
    """Find the best settings of a script's DataLoader by a few measured trials."""
    target, args = script_of(command, module, verb="tune")
    memory_bytes = None if memory is None else read_size(memory)
    files = Files(json=json, html=html, plan=plan)
    files.check_writable()
    knobs = None
    if sweep:
        from wellfed._tuner.sweep import read_knobs

        knobs = read_knobs(sweep)
    from wellfed._attach import Limits, Wanted
    from wellfed._report.trying import bar

    then = f"trials on copies of its loader follow, for at most {budget:g} s"
    observation, ended = watched(target, args, module, Limits(seconds=seconds), then)
    if ended.code and observation.ended_because != "stopped":
        raise typer.Exit(own_failure(ended))
    report = observation.diagnose(["wellfed", "tune", *(command or [])])
    if not speaks():
        return
    wanted = Wanted(
        budget_s=budget,
        memory_bytes=memory_bytes,
        sweep=knobs,
        follower=bar(budget),
        tell=lambda text: tell(f"  {text}"),
    )
    report = observation.tune(report, wanted)
    tuned(report)
    files.write(report, tell)
