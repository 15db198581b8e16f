"""Where a worker is that nothing comes from: its sample, and its line or what the kernel waits for.

    trainer ── a signal ──► worker: faulthandler writes all its stacks behind its Board's page
            ◄── reads them there ──┘

A worker that hangs runs no Python, so it is asked by a signal whose handler is written in C. Where
the kernel holds it, in a file system that does not answer, no handler runs either; then the kernel
is asked what it waits for.

Guarantees
- a worker is asked only once it listens, since the signal would end one that does not;
- the answer is waited for `ANSWER_S` and no longer, and none is no error.
"""

import faulthandler
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from wellfed._engine.board import PAGE, Page
from wellfed._engine.watch.frames import is_ours, is_users

__all__ = ["answer_when_asked", "held_by_kernel", "line_of", "stacks_of"]

# One that no library is known to use, which the faulthandler of a user's own does not touch.
ASKS = signal.SIGRTMAX - 3 if hasattr(signal, "SIGRTMAX") else 0

# Writing the stacks of a hundred threads takes a few milliseconds.
ANSWER_S = 0.5
LOOK_S = 0.01

_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<name>.*)$', re.MULTILINE)


def answer_when_asked(board: int, page: Page) -> None:
    """The worker: from here on `stacks_of` is answered.

    Args:
        board: the descriptor of its Board, which is to stay open.
        page: the page on it.
    """
    os.lseek(board, PAGE, os.SEEK_SET)
    faulthandler.register(ASKS, file=board, all_threads=True)
    page.listening = True


def stacks_of(descriptor: int, page: Page, clock: Callable[[], float] = time.monotonic) -> str:
    """The stacks of a worker's threads as faulthandler writes them; empty if it does not answer.

    Args:
        descriptor: of the process.
        page: its page.
        clock: seconds.
    """
    if not page.listening:
        return ""
    before = len(page.stacks())
    try:
        signal.pidfd_send_signal(descriptor, ASKS)
    except ProcessLookupError:
        return ""
    deadline = clock() + ANSWER_S
    said = b""
    while clock() < deadline:
        time.sleep(LOOK_S)
        so_far = page.stacks()[before:]
        if so_far and so_far == said:  # it is through
            break
        said = so_far
    return said.decode(errors="replace")


def line_of(stacks: str) -> str:
    """The user's line that is being executed, as "file:line in function"; empty if there is none.

    Of all threads, the one that fetches: the worker's own, or one of its threads for samples.
    """
    for thread in re.split(r"\n(?=(?:Current thread|Thread) )", stacks):
        frames = [(one["file"], int(one["line"]), one["name"]) for one in _FRAME.finditer(thread)]
        if not any(_fetches(file, name) for file, _, name in frames):
            continue
        found = [one for one in frames if is_users(one[0])]
        found = found or [one for one in frames if not is_ours(one[0])]
        if found:
            file, line, name = found[0]
            return f"{file}:{line} in {name}"
    return ""


def _fetches(file: str, name: str) -> bool:
    where = {"run": "worker.py", "_fetch": "gang.py"}.get(name)
    return where is not None and is_ours(file) and os.path.basename(file) == where


def held_by_kernel(pid: int, proc: Path = Path("/proc")) -> str:
    """What the kernel waits for on behalf of a process that cannot be interrupted; else empty."""
    try:
        state = (proc / str(pid) / "stat").read_text().rpartition(") ")[2][:1]
        if state != "D":
            return ""
        place = (proc / str(pid) / "wchan").read_text().strip("0\n")
    except OSError:
        return ""
    return (
        f"the kernel, which waits in {place}" if place else "the kernel, which waits for a device"
    )
