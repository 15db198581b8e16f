"""`wellfed diagnose --live`: the panel of `wellfed top` below what the script prints.

    this process   close() ── end of the pipe ──►  another one, nobody's child
    its loaders    status file ─────────────────►  reads it, and draws the last lines

Drawing costs milliseconds, which are not the trainer's: another process draws, which is as far from
it as the one that reads gauges. It ends with the pipe, so also when this process is killed.
"""

import os
import subprocess
import sys
from contextlib import suppress

from wellfed._cli.gathering import Gathering
from wellfed._cli.screens import Below
from wellfed._cli.top import show
from wellfed._report.live import Progress

__all__ = ["LivePanel", "draw_below"]

# Forked away first: a child of the script would be counted as one of its workers.
BOOTSTRAP = """
import os, sys
if os.fork(): os._exit(0)
sys.path[:] = [place for place in sys.argv[3].split(os.pathsep) if place]
from wellfed._cli.below import draw_below
draw_below(int(sys.argv[1]), int(sys.argv[2]))
"""
START_WITHIN_S = 5.0
END_WITHIN_S = 2.0
# Two looks a second: a core for drawing is one that workers do not have.
PERIOD_S = 0.5


class LivePanel:
    """Shows how the watching goes: the panel where stderr is a terminal, else nothing.

    An `_attach.observation.Watcher`, as `Progress` is, which takes its place where it cannot start.
    """

    def __init__(self) -> None:
        """Start the process that draws."""
        self._instead: Progress | None = None
        self._ours = -1
        if not (sys.stderr is not None and sys.stderr.isatty()):
            return
        try:
            self._ours = _launch(os.getpid())
        except (OSError, subprocess.SubprocessError):
            self._instead = Progress()

    def update(
        self, batches: int, elapsed_s: float, limit_s: float, waiting_share: float, site: str
    ) -> None:
        """Nothing: the panel reads the status files."""
        if self._instead is not None:
            self._instead.update(batches, elapsed_s, limit_s, waiting_share, site)

    def close(self) -> None:
        """Take the panel away. Harmless when called twice."""
        if self._instead is not None:
            self._instead.close()
        if self._ours >= 0:
            socket, self._ours = self._ours, -1
            with suppress(OSError):
                _end(socket)


def draw_below(pid: int, control: int) -> None:
    """Draw how the loaders of a process do on stderr, until the other end of `control` closes."""
    screen = Below(sys.stderr.fileno())
    try:
        show(Gathering(pid), screen, control, period_s=PERIOD_S)
    finally:
        screen.close()


def _launch(pid: int) -> int:
    """Our end of the socket whose end the drawing process waits for."""
    import socket

    ours, theirs = socket.socketpair()
    try:
        with theirs:
            places = os.pathsep.join(sys.path)
            words = [str(pid), str(theirs.fileno()), places]
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", BOOTSTRAP, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C is meant for the script
                timeout=START_WITHIN_S,
                check=False,
            )
    except BaseException:
        ours.close()
        raise
    if done.returncode:
        ours.close()
        raise OSError(f"{sys.executable} exited with {done.returncode}")
    return ours.detach()


def _end(descriptor: int) -> None:
    """Say that it is over, and wait until the panel is gone."""
    import socket

    with socket.socket(fileno=descriptor) as ours:
        ours.shutdown(socket.SHUT_WR)
        ours.settimeout(END_WITHIN_S)
        while ours.recv(64):
            pass
