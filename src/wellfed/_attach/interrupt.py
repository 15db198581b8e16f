"""Stops a script whose batches are asked for in another thread than the one that is watched."""

import ctypes
import sys
import threading
from collections.abc import Callable
from typing import Any

from wellfed._engine.stopping import StopWatching

__all__ = ["interrupt", "keep_silent", "withdraw"]


def interrupt(thread: int) -> None:
    """Have the thread of that ident raise StopWatching at its next bytecode.

    A thread that blocks for ever in a queue, because the thread that fed it was stopped, is not
    reached; that is one of a prefetcher without a time-out, and Ctrl-C ends it as always.
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
