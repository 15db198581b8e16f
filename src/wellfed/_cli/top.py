"""`wellfed top`: how the loaders that run on this machine do, four times a second."""

import os
import select
import sys
import time
from typing import Annotated

import typer

from wellfed._cli.gathering import Gathering
from wellfed._cli.screens import Keys, Screen, Whole
from wellfed._report.panel import panel
from wellfed._terminal import color, width

__all__ = ["show", "top"]

PERIOD_S = 0.25
# Between the two looks of a single panel: CPU time is counted in hundredths of a second.
ONCE_S = 0.5
QUIT = frozenset((b"q", b"Q", b"\x03", b"\x04", b""))


def top(
    pid: Annotated[
        int | None, typer.Argument(metavar="[PID]", help="Show this process alone.")
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Print it once and end, as where it is no terminal.")
    ] = False,
) -> None:
    """Watch the loaders of your running trainings: speed, waiting, workers, memory."""
    gathering = Gathering(pid)
    if once or not sys.stdout.isatty():
        _print_once(gathering)
        return
    screen = Whole(sys.stdout.fileno())
    try:
        with Keys() as keys:
            show(gathering, screen, keys.fd)
    except KeyboardInterrupt:
        pass
    finally:
        screen.close()


def show(
    gathering: Gathering, screen: Screen, fd: int | None, *, period_s: float = PERIOD_S
) -> None:
    """Draw until a key that quits, or the end of what `fd` reads from.

    Args:
        gathering: what there is to show.
        screen: where to.
        fd: read for keys; None: nothing is, and it goes on until interrupted.
        period_s: time from one panel to the next.
    """
    while True:
        now_unix_s = time.time()
        columns, lines = screen.room
        clock = time.strftime("%H:%M:%S", time.localtime(now_unix_s))
        text = panel(
            gathering.look(),
            now_unix_s=now_unix_s,
            clock=f"{clock} · q quits" if isinstance(screen, Whole) else clock,
            width=min(120, columns),
            height=lines,
            color="NO_COLOR" not in os.environ,
        )
        screen.draw(text)
        gathering.clean()
        ready, _, _ = select.select([] if fd is None else [fd], [], [], period_s)
        if ready and fd is not None and os.read(fd, 1) in QUIT:
            return


def _print_once(gathering: Gathering) -> None:
    if gathering.look():
        time.sleep(ONCE_S)
    now_unix_s = time.time()
    clock = time.strftime("%H:%M:%S", time.localtime(now_unix_s))
    text = panel(gathering.look(), now_unix_s=now_unix_s, clock=clock, width=width(), color=color())
    gathering.clean()
    typer.echo(text, nl=False)
