"""The one thread of the trainer's process: it copies batches to where they are wanted.

    put ─► inbox ─► the thread: copy, mark ─► outbox ─► get

Guarantees
- what is put comes out, in order, as a copy or as the exception that came of it;
- the thread holds nothing between two batches, and never the iterator that it works for;
- it ends when it is told, when its Carrier is collected, and when the interpreter exits; a copy
  under way is waited for, but not for ever.
"""

import contextlib
import os
import queue
import threading
import weakref
from typing import Any, NamedTuple

from torch import Tensor
from torch._utils import ExceptionWrapper

from wellfed._engine.copying import copied
from wellfed._engine.device import Destination, Mark

__all__ = ["Carried", "Carrier", "carried", "carry"]

THREAD_NAME = "wellfed device copies"

# Copying a batch takes milliseconds, and the first time some hundred more for the memory. One that
# hangs in a driver must not keep a program from ending.
END_S = 5.0

# How often a wait looks whether the other side is still there; it is woken by what comes.
LOOK_S = 1.0


class Carried(NamedTuple):
    """A batch where it is wanted, or the exception that came of it."""

    number: int
    value: Any = None
    mark: Mark | None = None
    copies: tuple[Tensor, ...] = ()
    """What `Destination.receive` is to be told of."""
    failure: Any = None
    """As torch wraps it."""

    def result(self) -> Any:
        """The batch.

        Raises:
            Exception: of the user's own type, with torch's text.
        """
        if self.failure is not None:
            self.failure.reraise()
        return self.value


class Carrier:
    """Starts the thread with the first batch, and ends it."""

    def __init__(self, destination: Destination) -> None:
        self._pid = os.getpid()
        # Simple ones: a finalizer may put while the thread it interrupts does. Bounded by InFlight.
        self._inbox: queue.SimpleQueue[tuple[int, Any] | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[Carried] = queue.SimpleQueue()
        self._ending = threading.Event()
        args = (destination, self._inbox, self._outbox, self._ending)
        # A daemon: the interpreter waits for others before it calls what would end them.
        self._thread = threading.Thread(target=_carry, args=args, name=THREAD_NAME, daemon=True)
        self._end = weakref.finalize(self, _end, self._thread, self._inbox, self._ending, self._pid)

    def put(self, number: int, value: Any) -> None:
        """Have a batch copied."""
        if self._thread.ident is None:
            self._thread.start()
        self._inbox.put((number, value))

    def get(self, within_s: float | None) -> Carried | None:
        """The next that is copied; None if there is none yet.

        Args:
            within_s: how long to wait at most; it may be less.

        Raises:
            RuntimeError: the thread has died, in torch's words.
        """
        try:
            wait_s = LOOK_S if within_s is None else min(within_s, LOOK_S)
            return self._outbox.get(wait_s > 0, wait_s or None)
        except queue.Empty:
            pass
        if self._thread.ident is None or self._thread.is_alive() or self._ending.is_set():
            return None
        with contextlib.suppress(queue.Empty):  # it may have been put just before
            return self._outbox.get_nowait()
        raise RuntimeError("Pin memory thread exited unexpectedly")

    def close(self) -> None:
        """End the thread. Harmless when called twice, or in a child that inherited it."""
        self._end()


def carry(number: int, value: Any, destination: Destination) -> Carried:
    """Copy a batch.

    Raises:
        Exception: of a class's own `pin_memory`, or the accelerator's.
    """
    copies: list[Tensor] = []

    def copy(tensor: Tensor) -> Tensor:
        copies.append(destination.copy(tensor))
        return copies[-1]

    return Carried(number, copied(value, copy), destination.mark(), tuple(copies))


def carried(number: int, value: Any, destination: Destination) -> Carried:
    """The same, with what is raised wrapped as torch's thread does it."""
    try:
        return carry(number, value, destination)
    except Exception:
        wrapper: Any = ExceptionWrapper
        failure = wrapper(where=f"in pin memory thread for {destination.name}")
    try:
        # Some of its tensors may be on their way, and be read still.
        return Carried(number, mark=destination.mark(), failure=failure)
    except Exception:  # the device is lost: nothing will be read by it
        return Carried(number, failure=failure)


def _carry(
    destination: Destination,
    inbox: "queue.SimpleQueue[tuple[int, Any] | None]",
    outbox: "queue.SimpleQueue[Carried]",
    ending: threading.Event,
) -> None:
    destination.enter()
    while not ending.is_set():
        try:
            item = inbox.get(timeout=LOOK_S)
        except queue.Empty:
            continue
        if item is not None and not ending.is_set():
            outbox.put(carried(*item, destination))
        del item  # not while the next is waited for


def _end(
    thread: threading.Thread,
    inbox: "queue.SimpleQueue[tuple[int, Any] | None]",
    ending: threading.Event,
    pid: int,
) -> None:
    if os.getpid() != pid:
        return
    ending.set()
    inbox.put(None)
    # The collector may run anywhere, also in the thread itself.
    if thread.is_alive() and thread is not threading.current_thread():
        thread.join(END_S)
