"""The command line: parse, call a verb, print, exit with a code that means something.

0  we have our answer (also when we stopped the script)
2  usage
3  no verdict was possible; says why
4  `compare` found a run slower than was allowed
otherwise the script's own code, with its own traceback, if it failed by itself
"""

import sys

import typer

from wellfed._cli.alone import demo, machine
from wellfed._cli.diagnosing import diagnose
from wellfed._cli.options import SCRIPT, Launching
from wellfed._cli.reports import compare, report
from wellfed._cli.running import run
from wellfed._cli.top import top
from wellfed._cli.tuning import tune
from wellfed._terminal import tell
from wellfed.errors import WellfedError

__all__ = ["main"]

app = typer.Typer(
    help="Find out why training waits for data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _launching in (diagnose, tune, run):
    app.command(cls=Launching, context_settings=SCRIPT)(_launching)
for _other in (report, compare, machine, top, demo):
    app.command()(_other)


def main() -> None:
    """Run the command line. One place turns errors into exit codes."""
    try:
        app(prog_name="wellfed")
    except WellfedError as error:
        tell(f"wellfed: {error}")
        sys.exit(error.exit_code)
