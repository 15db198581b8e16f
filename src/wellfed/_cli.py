"""The command line: parse, call a verb, print, exit with a code that means something.

0  we have our answer (also when we stopped the script)
2  usage
3  no verdict was possible; says why
otherwise the script's own code, with its own traceback, if it failed by itself
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand

from wellfed.errors import NoVerdict, UsageError, WellfedError

if TYPE_CHECKING:
    from wellfed._attach import Ended, Limits, Observation
    from wellfed.records import Remedy, Report

__all__ = ["main"]

ABSTAINED = 3
INTERRUPTED = 130  # what a shell says of a script that Ctrl-C ended
SECONDS = 60.0
DEEP_S = 60.0  # for all experiments together

app = typer.Typer(
    help="Find out why training waits for data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# Options end at the script: everything after it belongs to the script.
_SCRIPT = {"allow_interspersed_args": False, "ignore_unknown_options": False}


class _Launching(TyperCommand):
    """A command that runs a script: its options end where those of the script begin."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """As for python, all that follows `-m MODULE` is the module's own."""
        flags = {name for one in self.params if getattr(one, "is_flag", False) for name in one.opts}
        place = 0
        while place < len(args) and args[place].startswith("-") and args[place] not in ("-m", "--"):
            place += 1 if "=" in args[place] or args[place] in flags else 2
        if args[place : place + 1] == ["-m"]:
            args = [*args[: place + 2], "--", *args[place + 2 :]]
        return super().parse_args(ctx, args)


@app.command(cls=_Launching, context_settings=_SCRIPT)
def diagnose(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="train.py ARGS...", help="The script and its own arguments."),
    ] = None,
    module: Annotated[
        str | None, typer.Option("-m", metavar="MODULE", help="Run a module, as python -m does.")
    ] = None,
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
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the report; .gz compresses it.")
    ] = None,
) -> None:
    """Run a training script unmodified and say which resource bounds it."""
    target, args = _target(command, module)
    _check_writable(json)
    from wellfed._attach import Ended, Limits, Observation, run_script
    from wellfed._report.live import Progress

    limits = Limits(seconds=seconds, steps=steps, full=full)
    if _speaks():
        _announce([target, *args], limits, deep=deep)
    progress = Progress() if _speaks() else None
    observation = Observation(limits, progress=progress, tell=_tell, keep_loaders=deep)
    ended = Ended()
    sys.excepthook = sys.__excepthook__  # typer's own would show the script's errors
    try:
        with observation:
            ended = run_script(target, args, module=module is not None)
    except KeyboardInterrupt:
        _tell("wellfed: interrupted; this is what is known so far.")
    if not observation.at_home:  # the script forked itself, and this is the other one
        raise typer.Exit(_own_end(ended))
    again = _again(limits, module, command or [], deep=deep)
    raise typer.Exit(_show(observation, again, json, ended, deep=deep))


@app.command(cls=_Launching, context_settings=_SCRIPT)
def run(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="train.py ARGS...", help="The script and its own arguments."),
    ] = None,
    module: Annotated[
        str | None, typer.Option("-m", metavar="MODULE", help="Run a module, as python -m does.")
    ] = None,
) -> None:
    """Run a training script unmodified, with wellfed's engine under its DataLoaders."""
    target, args = _target(command, module, verb="run")
    from wellfed._attach import Ended, run_script
    from wellfed._attach.torch_loaded import when_torch_is_loaded

    sys.excepthook = sys.__excepthook__  # typer's own would show the script's errors
    when_torch_is_loaded(_install)
    try:
        ended = run_script(target, args, module=module is not None)
    except KeyboardInterrupt as interrupt:
        ended = Ended(code=INTERRUPTED, error=interrupt)
    raise typer.Exit(_own_end(ended))


def _install() -> None:
    from wellfed import install

    install()


def _target(
    command: list[str] | None, module: str | None, verb: str = "diagnose"
) -> tuple[str, list[str]]:
    words = command or []
    if module is not None:
        return module, words
    if not words:
        raise UsageError(f"no script was given. Write: wellfed {verb} train.py ARGS...")
    return words[0], words[1:]


def _announce(words: list[str], limits: "Limits", *, deep: bool) -> None:
    """Say that the script really runs, and how it will end."""
    end = f"it will be stopped after at most {limits.seconds:g} s"
    if limits.steps is not None:
        end += f" or {limits.steps} batches"
    if limits.full:
        end = "it will run to its end"
    if deep:
        end += f", and experiments on a copy of its loader follow, for at most {DEEP_S:g} s"
    _tell(f"wellfed: running {' '.join(words)} for real (it trains, logs and saves); {end}.")


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


def _check_writable(json: Path | None) -> None:
    """Better now than after a minute of training."""
    if json is None:
        return
    folder = json.parent
    if json.is_dir() or not os.access(json if json.exists() else folder, os.W_OK):
        raise UsageError(f"cannot write {json}. Give --json a file in a folder that you may write.")


def _show(
    observation: "Observation",
    command: list[str],
    json: Path | None,
    ended: "Ended",
    *,
    deep: bool,
) -> int:
    """Print the card of what was seen, and say what to exit with."""
    failed = ended.code != 0 and observation.ended_because != "stopped"
    try:
        report = observation.diagnose(command)
        if deep and not failed and _speaks():
            report = observation.confirm(report, budget_s=DEEP_S, ended=True, tell=_tell_experiment)
    except NoVerdict:
        if failed:
            return _own_failure(ended)
        if _speaks():
            raise
        return 0
    if _speaks():
        _card(report)
        if json is not None:
            report.save(str(json))
            _tell(f"wellfed: the report is in {json}; open it with: wellfed report {json}")
    if failed:
        return _own_failure(ended)
    if ended.error is not None:
        _own_end(ended)
        _tell("wellfed: the script raised this while it was being stopped.")
    # A launcher kills all ranks when one of them fails: only the one that speaks may abstain.
    return ABSTAINED if report.verdict.abstains and _speaks() else 0


def _confirm(observation: "Observation", report: "Report") -> "Report":
    """The report after experiments; after Ctrl-C, as it was."""
    try:
        return observation.confirm(report, budget_s=DEEP_S, ended=True, tell=_tell_experiment)
    except KeyboardInterrupt:
        _tell("wellfed: experiments interrupted; this is what watching showed.")
        return report


def _tell_experiment(text: str) -> None:
    _tell(f"wellfed: {text}.")


def _own_failure(ended: "Ended") -> int:
    """The script's own traceback and exit code."""
    code = _own_end(ended)
    _tell(f"wellfed: the script failed by itself with exit code {code}.")
    return code


def _own_end(ended: "Ended") -> int:
    if ended.error is not None:
        from wellfed._engine.watch.frames import strip_error

        error = ended.error
        strip_error(error)
        sys.stdout.flush()
        # The script may have put a hook of its own here.
        sys.excepthook(type(error), error, error.__traceback__)
    return ended.code


def _speaks() -> bool:
    """Whether this process is the one that prints: rank 0 of a distributed run, or the only one."""
    return os.environ.get("RANK", "0") == "0"


@app.command()
def report(
    file: Annotated[Path, typer.Argument(help="A report saved with --json.")],
) -> None:
    """Show a saved report; needs no torch."""
    from wellfed.records import load

    _card(load(file))


@app.command()
def machine() -> None:
    """Say what this process may really use: CPUs, quota, memory, /dev/shm, files, GPUs."""
    from wellfed._probes import survey_machine
    from wellfed._report.machine import render_machine

    typer.echo(render_machine(survey_machine(), width=_width(), color=_color()), nl=False)


@app.command()
def demo(
    folder: Annotated[
        Path | None, typer.Option(help="Where the JPEG files are made and kept.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=5.0, help="Watch each run at most so long.")] = 40.0,
) -> None:
    """Train on real JPEG files, say why it is slow, mend it, and compare."""
    from wellfed._demo import run_demo

    raise typer.Exit(run_demo(folder, seconds, card=_card, compare=_compare, tell=_tell))


def _compare(before: "Report", after: "Report", remedy: "Remedy") -> None:
    from wellfed._report.compare import render_compare

    typer.echo(render_compare(before, after, remedy.gain, width=_width(), color=_color()), nl=False)


def _card(report: "Report") -> None:
    from wellfed._report.text import render_text

    typer.echo(render_text(report, width=_width(), color=_color()), nl=False)


def _width() -> int:
    import shutil

    return min(100, shutil.get_terminal_size((80, 24)).columns) if sys.stdout.isatty() else 80


def _color() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def _tell(text: str) -> None:
    """A line on stderr: the script's own stdout stays its own."""
    typer.echo(text, err=True)


def main() -> None:
    """Run the command line. One place turns errors into exit codes."""
    try:
        app(prog_name="wellfed")
    except WellfedError as error:
        _tell(f"wellfed: {error}")
        sys.exit(error.exit_code)
