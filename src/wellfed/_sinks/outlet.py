"""Between the thread that trains and the sinks: a queue for each, that never makes anyone wait.

    __next__ ── put ──► queue of 64 ──► thread ──► sink.emit
                  └─ full: the newest is dropped, and counted

Guarantees
- putting takes microseconds, whatever a sink does, and never raises;
- a sink that raises is switched off, with one warning; the others go on;
- closing waits for a bounded time; a sink that hangs is left behind, with one warning;
- the threads exist only where a sink was asked for, and end with `close`.
"""

import logging
import os
import queue
import threading
import time
from collections.abc import Sequence

from wellfed.records import LoaderStatus, Report
from wellfed.seams import Sink

__all__ = ["Outlet"]

log = logging.getLogger(__name__)

MOST_QUEUED = 64
CLOSE_S = 5.0


class Outlet:
    """Hands on to sinks what is seen."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        """Start a thread for each sink."""
        self._pid = os.getpid()
        self._lines = [_Line(sink) for sink in sinks]

    def put(self, seen: LoaderStatus | Report) -> None:
        """Hand it on, or drop it where a sink is behind."""
        if os.getpid() == self._pid:  # the threads of a forked process stay in its parent
            for line in self._lines:
                line.put(seen)

    def close(self, within_s: float = CLOSE_S) -> None:
        """Let the sinks finish what they have, and close them. Harmless when called twice."""
        lines, self._lines = self._lines, []
        if os.getpid() != self._pid:
            return
        until_s = time.monotonic() + within_s
        for line in lines:
            line.end()
        for line in lines:
            line.join(max(0.0, until_s - time.monotonic()))


class _Line:
    """One sink, its queue and its thread."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._name = type(sink).__name__
        self._queue: queue.Queue[LoaderStatus | Report | None] = queue.Queue(MOST_QUEUED)
        self._ending = threading.Event()
        self._dropped = 0
        # A daemon: a sink that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name=f"wellfed {self._name}", daemon=True)
        self._thread.start()

    def put(self, seen: LoaderStatus | Report) -> None:
        if not self._thread.is_alive():
            return
        try:
            self._queue.put_nowait(seen)
        except queue.Full:
            self._dropped += 1
            if isinstance(seen, Report):  # there is but one, and it is the last
                self._make_room()
                self._queue.put_nowait(seen)

    def _make_room(self) -> None:
        try:
            self._queue.get_nowait()
        except queue.Empty:
            return

    def end(self) -> None:
        self._ending.set()
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return  # it looks at the event after each

    def join(self, within_s: float) -> None:
        self._thread.join(within_s)
        if self._thread.is_alive():
            log.warning("wellfed: %s still hangs and is left behind", self._name)
        elif self._dropped:
            log.warning("wellfed: %s was too slow for %d windows", self._name, self._dropped)

    def _run(self) -> None:
        try:
            while (seen := self._next()) is not None:
                self._sink.emit(seen)
        except Exception:
            log.warning(
                "wellfed: %s failed and is now off; training is not affected",
                self._name,
                exc_info=True,
            )
        try:
            self._sink.close()
        except Exception:
            log.warning("wellfed: closing %s failed", self._name, exc_info=True)

    def _next(self) -> LoaderStatus | Report | None:
        if self._ending.is_set() and self._queue.empty():
            return None
        return self._queue.get()
