"""The commands that need neither a script nor a report: `wellfed machine`, `wellfed demo`."""

from pathlib import Path
from typing import Annotated

import typer

from wellfed._terminal import card, color, compared, tell, width

__all__ = ["demo", "machine"]


def machine() -> None:
    """Say what this process may really use: CPUs, quota, memory, /dev/shm, files, GPUs."""
    from wellfed._probes import survey_machine
    from wellfed._report.machine import render_machine

    typer.echo(render_machine(survey_machine(), width=width(), color=color()), nl=False)


def demo(
    folder: Annotated[
        Path | None, typer.Option(help="Where the JPEG files are made and kept.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=5.0, help="Watch each run at most so long.")] = 40.0,
) -> None:
    """Train on real JPEG files, say why it is slow, mend it, compare, and tune."""
    from wellfed._demo import run_demo

    raise typer.Exit(
        run_demo(folder, seconds, card=card, compare=compared, tell=tell, say=typer.echo)
    )
