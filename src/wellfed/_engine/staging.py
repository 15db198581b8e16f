"""The device stage: a stream whose batches are copied before they are handed over.

    stream ─ take ─► InFlight ─► Carrier's thread: copy ─► receive ─► the trainer
       ▲                │
       └── handed over ─┴── the source is dropped: its slab goes back to the worker

All but the copying runs inside `__next__`, in the trainer's thread. A batch that has arrived is
taken early and copied while the trainer steps. The sampler is not asked for another before the
batch is handed over, as in torch, so no more batches are in the making than without this stage.

Batches that are made in the trainer's process are also copied there, as in torch.
"""

import contextlib
import time
import weakref
from collections.abc import Iterator
from multiprocessing.util import Finalize
from typing import Any

from wellfed._engine.carrier import Carried, Carrier, carried, carry
from wellfed._engine.device import Destination, Mark
from wellfed._engine.inflight import InFlight
from wellfed._engine.taking import UNTOLD, Taken, Takes, deadline_after, left_s
from wellfed._engine.watch.letters import Delivery
from wellfed.job import Job
from wellfed.seams import Stream

__all__ = ["CopiedAhead", "CopiedInPlace", "staged"]

# While the trainer steps, one batch that is copied and one that is being copied: the next is there
# when it asks, if a copy takes less than a step. More would only fill memory, also the device's.
MOST_AHEAD = 2

# After the last batch a device has at most a few copies to end.
END_S = 2.0


def staged(stream: Stream, job: Job, destination: Destination) -> Stream:
    """The stream, with its batches copied.

    Args:
        stream: the batches. It is closed with what is returned.
        job: what it loads.
        destination: where to copy.
    """
    if isinstance(stream, Takes):
        return CopiedAhead(stream, destination, job.timeout_s)
    return CopiedInPlace(stream, destination, as_from_thread=job.workers > 0)


class CopiedInPlace:
    """Each batch copied when it is asked for."""

    def __init__(
        self, stream: Stream, destination: Destination, *, as_from_thread: bool = False
    ) -> None:
        self._stream = stream
        self._destination = destination
        # Torch wraps exceptions where it has workers, and with them the thread.
        self._carry = carried if as_from_thread else carry

    @property
    def ended(self) -> bool:
        """Whether all batches of the epoch were delivered."""
        return getattr(self._stream, "ended", True)

    @property
    def delivery(self) -> Delivery:
        """How the last batch came, before it was copied."""
        return getattr(self._stream, "delivery", UNTOLD)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        came = self._carry(0, next(self._stream), self._destination)
        value = came.result()
        self._destination.receive(came.mark, came.copies)
        return value

    def restart(self, indices: Iterator[Any]) -> None:
        """Begin another epoch."""
        self._stream.restart(indices)

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


class CopiedAhead:
    """Batches that are copied by a thread, those that come early before they are asked for."""

    def __init__(self, stream: Takes, destination: Destination, timeout_s: float) -> None:
        self._stream = stream
        self._destination = destination
        self._timeout_s = timeout_s
        self._carrier = Carrier(destination)
        self._flight = InFlight(1 + MOST_AHEAD)
        self.delivery = UNTOLD
        """How the last batch came, before it was copied."""
        self._sources: dict[int, Any] = {}
        self._deliveries: dict[int, Delivery] = {}
        self._here: dict[int, Carried | Taken] = {}
        self._marks: dict[int, Mark] = {}
        self._closed = False
        # Before the workers of the stream are ended, at the end of a program that keeps it.
        self._at_exit = Finalize(None, _close, (weakref.ref(self),), exitpriority=11)

    @property
    def ended(self) -> bool:
        """Whether all batches of the epoch were delivered."""
        return self._stream.ended and not self._flight.undelivered

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        deadline = deadline_after(self._timeout_s)
        self._land(0)
        self._take_arrived()
        if not self._flight.undelivered:
            self._send(self._stream.take(deadline))
            self._take_arrived()
        while (number := self._flight.next()) is None:
            self._land(left_s(deadline, self._timeout_s))
        batch = self._here.pop(number)
        self.delivery = self._deliveries.pop(number)
        # As torch does it: the sampler is asked before the batch is handed over, which is lost
        # where that raises.
        self._stream.handed_over()
        value = batch.result()
        if isinstance(batch, Carried):
            self._destination.receive(batch.mark, batch.copies)
        return value

    def _take_arrived(self) -> None:
        while self._flight.room:
            try:
                taken = self._stream.take_arrived()
            except StopIteration:  # those in flight come first
                return
            if taken is None:
                return
            self._send(taken)

    def _send(self, taken: Taken) -> None:
        number = self._flight.take()
        self._deliveries[number] = taken.delivery
        if taken.raises:
            self._flight.arrived(number, marked=False)
            self._here[number] = taken
            return
        self._sources[number] = taken.value
        self._carrier.put(number, taken.value)

    def _land(self, within_s: float | None) -> None:
        """Take in the copies that are there, and drop the sources that nobody reads any more."""
        came = self._carrier.get(within_s)
        while came is not None:
            if came.mark is not None:
                self._marks[came.number] = came.mark
            if self._flight.arrived(came.number, marked=came.mark is not None):
                self._here[came.number] = came
            came = self._carrier.get(0)
        self._drop_sources()

    def _drop_sources(self) -> None:
        for number, mark in list(self._marks.items()):
            if mark.query():
                del self._marks[number]
                self._flight.done(number)
        for number in self._flight.freed():
            self._sources.pop(number, None)

    def restart(self, indices: Iterator[Any]) -> None:
        """Begin another epoch; what is in flight is dropped when it has landed."""
        for number in self._flight.drop():
            del self._here[number]
        self._deliveries.clear()
        self._stream.restart(indices)

    def close(self) -> None:
        """End the thread, then the stream. Harmless when called twice."""
        if self._closed:
            return
        self._closed = True
        self._at_exit.cancel()
        try:
            self._carrier.close()
            self._wait_for_device()
        finally:
            self._here.clear()
            self._sources.clear()
            self._stream.close()

    def _wait_for_device(self) -> None:
        """No source goes while the device reads it, unless the device is lost or hangs."""
        end = time.monotonic() + END_S
        with contextlib.suppress(RuntimeError):
            self._land(0)
            while self._marks and time.monotonic() < end:
                time.sleep(0.001)
                self._drop_sources()
        self._marks.clear()


def _close(stage: "weakref.ref[CopiedAhead]") -> None:
    alive = stage()
    if alive is not None:
        alive.close()
