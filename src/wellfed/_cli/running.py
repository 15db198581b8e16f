"""`wellfed run`: a script on wellfed's engine."""

from contextlib import nullcontext

import typer

from wellfed._cli.options import Command, Export, Module, script_of
from wellfed._cli.scripts import own_end
from wellfed._terminal import speaks

__all__ = ["run"]

INTERRUPTED = 130  # what a shell says of a script that Ctrl-C ended


def run(
    command: Command = None,
    module: Module = None,
    export: Export = None,
) -> None:
    """Run a training script unmodified, with wellfed's engine under its DataLoaders."""
    target, args = script_of(command, module, verb="run")
    from wellfed._attach import Ended, Limits, Observation, install_with_torch, run_script

    install_with_torch()
    asked = export if export and speaks() else None
    watched = nullcontext() if asked is None else Observation(Limits(full=True), export=asked)
    try:
        with watched:
            ended = run_script(target, args, module=module is not None)
    except KeyboardInterrupt as interrupt:
        ended = Ended(code=INTERRUPTED, error=interrupt)
    raise typer.Exit(own_end(ended))
