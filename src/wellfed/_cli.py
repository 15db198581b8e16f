"""The command line: parse, call a verb, print, exit with a code that means something.

0  we have our answer (also when we stopped the script)
2  usage
3  no verdict was possible; says why
4  `compare` found a run slower than was allowed
otherwise the script's own code, with its own traceback, if it failed by itself
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand

from wellfed._report.files import Files
from wellfed._sizes import read_share, read_size
from wellfed._terminal import card, color, compared, speaks, tell, width
from wellfed.errors import NoVerdict, UsageError, WellfedError

if TYPE_CHECKING:
    from wellfed._attach import Ended, Limits, Observation
    from wellfed.records import Report

__all__ = ["main"]

ABSTAINED = 3
SLOWER = 4
INTERRUPTED = 130  # what a shell says of a script that Ctrl-C ended
SECONDS = 60.0
DEEP_S = 60.0  # for all experiments together
TUNE_S = 60.0  # for all trials together

app = typer.Typer(
    help="Find out why training waits for data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_Json = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Save the report; .gz compresses it.")
]
_Html = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write a page with pictures; opens offline.")
]
_Timeline = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write a timeline for Perfetto: .json or .json.gz."),
]

# Options end at the script: everything after it belongs to the script.
_SCRIPT = {"allow_interspersed_args": False, "ignore_unknown_options": False}


_Command = Annotated[
    list[str] | None,
    typer.Argument(metavar="train.py ARGS...", help="The script and its own arguments."),
]
_Module = Annotated[
    str | None, typer.Option("-m", metavar="MODULE", help="Run a module, as python -m does.")
]


class _Launching(TyperCommand):
    """A command that runs a script: its options end where those of the script begin."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """With Python's own hook: typer's would show the script's errors."""
        sys.excepthook = sys.__excepthook__
        return super().invoke(ctx)

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
    command: _Command = None,
    module: _Module = None,
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
    json: _Json = None,
    html: _Html = None,
    timeline: _Timeline = None,
) -> None:
    """Run a training script unmodified and say which resource bounds it."""
    target, args = _target(command, module)
    files = Files(json=json, html=html, timeline=timeline)
    files.check_writable()
    from wellfed._attach import Limits

    limits = Limits(seconds=seconds, steps=steps, full=full)
    then = f"experiments on a copy of its loader follow, for at most {DEEP_S:g} s" if deep else ""
    observation, ended = _watched(target, args, module, limits, then)
    again = _again(limits, module, command or [], deep=deep)
    raise typer.Exit(_show(observation, again, files, ended, deep=deep))


@app.command(cls=_Launching, context_settings=_SCRIPT)
def tune(
    command: _Command = None,
    module: _Module = None,
    budget: Annotated[
        float, typer.Option(min=5.0, help="Seconds that all trials may take.")
    ] = TUNE_S,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="What its workers may take, e.g. 8GiB.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1.0, help="Watch the script at most so long before.")
    ] = 20.0,
    json: _Json = None,
    html: _Html = None,
) -> None:
    """Find the best settings of a script's DataLoader by a few measured trials."""
    target, args = _target(command, module, verb="tune")
    memory_bytes = None if memory is None else read_size(memory)
    files = Files(json=json, html=html)
    files.check_writable()
    from wellfed._attach import Limits

    then = f"trials on copies of its loader follow, for at most {budget:g} s"
    observation, ended = _watched(target, args, module, Limits(seconds=seconds), then)
    if ended.code and observation.ended_because != "stopped":
        raise typer.Exit(_own_failure(ended))
    report = observation.diagnose(["wellfed", "tune", *(command or [])])
    if not speaks():
        return
    tuned = observation.tune(
        report, budget_s=budget, memory_bytes=memory_bytes, tell=lambda text: tell(f"  {text}")
    )
    card(tuned)
    files.write(tuned, tell)


def _watched(
    target: str, args: list[str], module: str | None, limits: "Limits", then: str
) -> "tuple[Observation, Ended]":
    """The script, run and watched; `then` says what is to follow with its loader, "" if nothing."""
    from wellfed._attach import Ended, Observation, run_script
    from wellfed._report.live import Progress

    if speaks():
        _announce([target, *args], limits, then)
    progress = Progress() if speaks() else None
    observation = Observation(limits, progress=progress, tell=tell, keep_loaders=bool(then))
    ended = Ended()
    try:
        with observation:
            ended = run_script(target, args, module=module is not None)
    except KeyboardInterrupt:
        tell("wellfed: interrupted; this is what is known so far.")
    if not observation.at_home:  # the script forked itself, and this is the other one
        raise typer.Exit(_own_end(ended))
    return observation, ended


@app.command(cls=_Launching, context_settings=_SCRIPT)
def run(
    command: _Command = None,
    module: _Module = None,
) -> None:
    """Run a training script unmodified, with wellfed's engine under its DataLoaders."""
    target, args = _target(command, module, verb="run")
    from wellfed._attach import Ended, install_with_torch, run_script

    install_with_torch()
    try:
        ended = run_script(target, args, module=module is not None)
    except KeyboardInterrupt as interrupt:
        ended = Ended(code=INTERRUPTED, error=interrupt)
    raise typer.Exit(_own_end(ended))


def _target(
    command: list[str] | None, module: str | None, verb: str = "diagnose"
) -> tuple[str, list[str]]:
    words = command or []
    if module is not None:
        return module, words
    if not words:
        raise UsageError(f"no script was given. Write: wellfed {verb} train.py ARGS...")
    return words[0], words[1:]


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
    *,
    deep: bool,
) -> int:
    """Print the card of what was seen, and say what to exit with."""
    failed = ended.code != 0 and observation.ended_because != "stopped"
    try:
        report = observation.diagnose(command)
        if deep and not failed and speaks():
            report = _confirm(observation, report)
    except NoVerdict:
        if failed:
            return _own_failure(ended)
        if speaks():
            raise
        return 0
    if speaks():
        card(report)
        files.write(report, tell)
    if failed:
        return _own_failure(ended)
    if ended.error is not None:
        _own_end(ended)
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


def _own_failure(ended: "Ended") -> int:
    """The script's own traceback and exit code."""
    code = _own_end(ended)
    tell(f"wellfed: the script failed by itself with exit code {code}.")
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


@app.command()
def report(
    file: Annotated[Path, typer.Argument(help="A report saved with --json.")],
    html: _Html = None,
    timeline: _Timeline = None,
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


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="A report saved with --json.")],
    after: Annotated[Path, typer.Argument(help="A later one.")],
    html: _Html = None,
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


@app.command()
def machine() -> None:
    """Say what this process may really use: CPUs, quota, memory, /dev/shm, files, GPUs."""
    from wellfed._probes import survey_machine
    from wellfed._report.machine import render_machine

    typer.echo(render_machine(survey_machine(), width=width(), color=color()), nl=False)


@app.command()
def demo(
    folder: Annotated[
        Path | None, typer.Option(help="Where the JPEG files are made and kept.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=5.0, help="Watch each run at most so long.")] = 40.0,
) -> None:
    """Train on real JPEG files, say why it is slow, mend it, and compare."""
    from wellfed._demo import run_demo

    raise typer.Exit(run_demo(folder, seconds, card=card, compare=compared, tell=tell))


def main() -> None:
    """Run the command line. One place turns errors into exit codes."""
    try:
        app(prog_name="wellfed")
    except WellfedError as error:
        tell(f"wellfed: {error}")
        sys.exit(error.exit_code)
