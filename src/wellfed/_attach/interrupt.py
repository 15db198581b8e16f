"""Stops a script whose batches are asked for in another thread than the one that is watched."""

import ctypes
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from wellfed._engine.watch.stopping import StopWatching

__all__ = ["interrupt", "is_waiting", "keep_silent", "withdraw"]

# Modules in which a thread waits for another thread or process.
WAITS = (
    "concurrent.futures._base",
    "multiprocessing.connection",
    "multiprocessing.queues",
    "multiprocessing.synchronize",
    "queue",
    "selectors",
    "threading",
)


def is_waiting(frame: FrameType | None) -> bool:
    """Whether a thread at this frame waits in the standard library, and for another one.

    Anywhere else an exception out of nowhere could break off a file that is being written.
    """
    return frame is not None and frame.f_globals.get("__name__") in WAITS


def interrupt(thread: int) -> None:
    """Have the thread of that ident raise StopWatching at its next bytecode.

    One that waits without a time-out comes to it once it is woken.
    """
    _set_exception(thread, ctypes.py_object(StopWatching))


def withdraw(thread: int) -> None:
    """Take back an interrupt that has not come through yet."""
    _set_exception(thread, None)


def keep_silent(thread: threading.Thread) -> None:
    """No traceback on stderr when StopWatching ends this thread; one of any other error stays."""
    report: Callable[[Any], None] | None = getattr(thread, "_invoke_excepthook", None)

    def quiet(ending: threading.Thread) -> None:
        if report is not None and not isinstance(sys.exc_info()[1], StopWatching):
            report(ending)

    thread._invoke_excepthook = quiet  # type: ignore[attr-defined]


def _set_exception(thread: int, error: Any) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error)
