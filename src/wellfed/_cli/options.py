"""The options and arguments that several commands share."""

import sys
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand

from wellfed.errors import UsageError

__all__ = [
    "SCRIPT",
    "Command",
    "Export",
    "Html",
    "Ignored",
    "Json",
    "Launching",
    "Module",
    "Timeline",
    "script_of",
]

Json = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Save the report; .gz compresses it.")
]
Html = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write a page with pictures; opens offline.")
]
Timeline = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write a timeline for Perfetto: .json or .json.gz."),
]
Ignored = Annotated[
    list[str] | None,
    typer.Option(metavar="CODE", help="Leave this finding out, e.g. WF601; may be repeated."),
]

Export = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WHERE",
        help="Send how loaders do, each second: jsonl:FILE, tensorboard:FOLDER, "
        "prometheus:[ADDRESS:]PORT or wandb[:PROJECT]. May be given several times.",
    ),
]

# Options end at the script: everything after it belongs to the script.
SCRIPT = {"allow_interspersed_args": False, "ignore_unknown_options": False}


Command = Annotated[
    list[str] | None,
    typer.Argument(metavar="train.py ARGS...", help="The script and its own arguments."),
]
Module = Annotated[
    str | None, typer.Option("-m", metavar="MODULE", help="Run a module, as python -m does.")
]


class Launching(TyperCommand):
    """A command that runs a script: its options end where those of the script begin."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """With Python's own hook: typer's would show the script's errors."""
        sys.excepthook = sys.__excepthook__
        return super().invoke(ctx)

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """As for python, all that follows `-m MODULE` is the module's own."""
        flags = {name for one in self.params if getattr(one, "is_flag", False) for name in one.opts}
        args, place = [*args], 0
        while place < len(args) and args[place].startswith("-") and args[place] not in ("-m", "--"):
            if args[place] == "--sweep":  # all settings behind it are its own
                own = [*takewhile(_is_setting, args[place + 1 :])]
                args[place : place + 1 + len(own)] = [f"--sweep={word}" for word in own] or [
                    "--sweep"
                ]
            place += 1 if "=" in args[place] or args[place] in flags else 2
        if args[place : place + 1] == ["-m"]:
            args = [*args[: place + 2], "--", *args[place + 2 :]]
        return super().parse_args(ctx, args)


def _is_setting(word: str) -> bool:
    return "=" in word and not word.startswith("-")


def script_of(
    command: list[str] | None, module: str | None, verb: str = "diagnose"
) -> tuple[str, list[str]]:
    """The script or module, and its own arguments."""
    words = command or []
    if module is not None:
        return module, words
    if not words:
        raise UsageError(f"no script was given. Write: wellfed {verb} train.py ARGS...")
    return words[0], words[1:]
