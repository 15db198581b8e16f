"""Runs a user's script for a command, watched, and says how it ended."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from wellfed._terminal import speaks, tell

if TYPE_CHECKING:
    from wellfed._attach import Ended, Limits, Observation

__all__ = ["own_end", "own_failure", "watched"]


def watched(
    target: str,
    args: list[str],
    module: str | None,
    limits: "Limits",
    then: str,
    *,
    live: bool = False,
    export: Sequence[str] = (),
) -> "tuple[Observation, Ended]":
    """The script, run and watched.

    Args:
        target: the script or module.
        args: its own arguments.
        module: the same module; None for a script.
        limits: when to stop it.
        then: what is to follow with its loader; "" if nothing.
        live: whether to show a panel meanwhile, instead of a line.
        export: where to send how its loaders do; rank 0 does.
    """
    from wellfed._attach import Ended, Observation, run_script
    from wellfed._cli.below import LivePanel
    from wellfed._report.live import Progress

    if speaks():
        _announce([target, *args], limits, then)
    observation = Observation(
        limits,
        progress=(LivePanel() if live else Progress()) if speaks() else None,
        tell=tell,
        keep_loaders=bool(then),
        export=export if speaks() else (),
    )
    ended = Ended()
    try:
        with observation:
            ended = run_script(target, args, module=module is not None)
    except KeyboardInterrupt:
        tell("wellfed: interrupted; this is what is known so far.")
    if not observation.at_home:  # the script forked itself, and this is the other one
        raise typer.Exit(own_end(ended))
    return observation, ended


def _announce(words: list[str], limits: "Limits", then: str) -> None:
    """Say that the script really runs, how it will end, and what follows."""
    end = f"it will be stopped after at most {limits.seconds:g} s"
    if limits.steps is not None:
        end += f" or {limits.steps} batches"
    if limits.full:
        end = "it will run to its end"
    if then:
        end += f", and {then}"
    tell(f"wellfed: running {' '.join(words)} for real (it trains, logs and saves); {end}.")


def own_failure(ended: "Ended") -> int:
    """The script's own traceback and exit code."""
    code = own_end(ended)
    tell(f"wellfed: the script failed by itself with exit code {code}.")
    return code


def own_end(ended: "Ended") -> int:
    if ended.error is not None:
        from wellfed._engine.watch.frames import strip_error

        error = ended.error
        strip_error(error)
        sys.stdout.flush()
        # The script may have put a hook of its own here.
        sys.excepthook(type(error), error, error.__traceback__)
    return ended.code
