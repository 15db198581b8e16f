"""The host's memory as a destination that is told when its copies end, and a scripted stream."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor

from wellfed._engine.device import Mark
from wellfed._engine.taking import Taken


class HostMark:
    """Behind the copies of one batch; `ended` once the test says so."""

    def __init__(self, ended: bool) -> None:
        self.ended = ended

    def query(self) -> bool:
        return self.ended


class HostCopies:
    """Copies to ordinary memory; with `marks`, as a device that may lag behind."""

    name = "device 0"

    def __init__(
        self, *, marks: bool = False, lags: bool = False, hold: threading.Event | None = None
    ) -> None:
        self.marks: list[HostMark] | None = [] if marks or lags else None
        self.lags = lags
        self.hold = hold
        """No copy is made before it is set."""
        self.begun = threading.Event()
        """Set by the first copy, before it is made."""
        self.threads: set[str] = set()
        self.entered: list[str] = []
        self.sources: list[Tensor] = []
        self.received: list[tuple[Mark | None, int, str]] = []
        """The mark, how many copies, and the thread, of each batch that was received."""

    def enter(self) -> None:
        self.entered.append(threading.current_thread().name)

    def copy(self, tensor: Tensor) -> Tensor:
        self.begun.set()
        if self.hold is not None:
            assert self.hold.wait(30)
        self.threads.add(threading.current_thread().name)
        return tensor.clone()

    def mark(self) -> HostMark | None:
        if self.marks is None:
            return None
        self.marks.append(HostMark(not self.lags))
        return self.marks[-1]

    def receive(self, mark: Mark | None, copies: Sequence[Tensor]) -> None:
        self.received.append((mark, len(copies), threading.current_thread().name))


def always(device: Any, pin_memory: bool) -> HostCopies:
    """In place of what chooses by the machine."""
    return HostCopies(marks=True)


class Scripted:
    """A stream that has what the test gave it, and says when it was asked for more."""

    backend = "scripted"

    def __init__(self, batches: list[Any], arrived: int | None = None) -> None:
        """Nothing is taken.

        Args:
            batches: what there is; an exception is raised in the place of a batch.
            arrived: how many are there already; None: all.
        """
        self.batches = batches
        self.arrived = len(batches) if arrived is None else arrived
        self.taken = 0
        self.handed = 0
        self.waited = 0
        self.closed = 0
        self.ended = False
        self.on_handed: Callable[[], None] = lambda: None

    def take(self, deadline: float | None) -> Taken:
        self.waited += 1
        self.arrived = max(self.arrived, self.taken + 1)
        taken = self.take_arrived()
        assert taken is not None
        return taken

    def take_arrived(self) -> Taken | None:
        if self.taken == len(self.batches):
            self.ended = True
            raise StopIteration
        if self.taken >= self.arrived:
            return None
        batch = self.batches[self.taken]
        self.batches[self.taken] = None
        self.taken += 1
        return Taken(error=batch) if isinstance(batch, Exception) else Taken(batch)

    def handed_over(self) -> None:
        self.handed += 1
        self.on_handed()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        raise AssertionError("its batches are taken, not asked for")

    def restart(self, indices: Iterator[Any]) -> None:
        self.batches, self.taken, self.ended = list(indices), 0, False
        self.arrived = len(self.batches)

    def close(self) -> None:
        self.closed += 1
