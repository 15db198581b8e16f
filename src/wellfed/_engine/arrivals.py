"""What came from the workers: where a batch lies, what was told of its making, and the batch."""

import time
from typing import Any

from wellfed._engine.crew import Crew
from wellfed._engine.epoch import Epoch
from wellfed._engine.flow import Deliver
from wellfed._engine.joining import Unfit, joined
from wellfed._engine.leases import Shelf
from wellfed._engine.parcel import Parcel, unpack
from wellfed._engine.positions import samples_in
from wellfed._engine.taking import Taken
from wellfed._engine.watch.letters import Delivery
from wellfed._engine.wire import Kind, Record
from wellfed.job import Job

__all__ = ["Came", "Unpacker", "parcel_of", "streams_of", "told_of"]

# Batches that the user keeps stay in their slabs up to as many bytes as the window may hold, and at
# least so many; beyond that each is copied out of its slab, so that workers never lack one.
LEAST_KEPT_BYTES = 64 << 20

Came = tuple[int, Record, int]
"""A record, after the number of its process, and with when it was read."""


def parcel_of(record: Record) -> Parcel:
    """Where the batch lies."""
    return Parcel(record.slab, record.offset, record.length, record.used, record.body)


def streams_of(record: Record, shelf: Shelf) -> bytes:
    """What rides with a batch, see `stream_states`; empty where nothing does.

    Args:
        record: what came.
        shelf: the slabs of its process; those of the batch are not settled yet.
    """
    if record.streams or not record.streams_length:
        return record.streams
    begin = record.streams_offset
    return bytes(shelf.view(record.streams_slab)[begin : begin + record.streams_length])


def told_of(process: int, record: Record, shelf: Shelf, samples: int) -> Any:
    """What its worker told of the making of a part, as `Delivery.told` holds it.

    Args:
        process: the seat of the worker's process.
        record: what it sent.
        shelf: its slabs; those of the batch are not settled yet.
        samples: in the part; -1 if that is not known.
    """
    if record.letter:
        return record.letter
    if record.letter_length:
        begin = record.letter_offset
        return bytes(shelf.view(record.letter_slab)[begin : begin + record.letter_length])
    times = record.taken_ns, record.idle_ns, record.fetch_ns, record.cpu_ns, record.pack_ns
    return process, *times, samples


class Unpacker:
    """Makes batches of what came."""

    def __init__(self, job: Job, crew: Crew) -> None:
        """Nothing has come yet.

        Args:
            job: what is loaded.
            crew: who makes it.
        """
        self._job = job
        self._crew = crew
        self.largest_bytes = 0
        """Slabs of the largest batch so far."""
        self.kept_bytes: float | None = None
        """Most that kept batches may hold of the slabs, where memory is limited."""

    def taken(self, batch: Deliver, epoch: Epoch, held: int) -> Taken:
        """The batch, or what is raised in its place.

        Args:
            batch: its parts, as they came.
            epoch: in which it was asked for.
            held: batches that had come before it, and waited for it.

        Raises:
            Unfit: its parts cannot be joined.
        """
        began_ns = time.perf_counter_ns()
        process, first, arrived_ns = batch.parts[0]
        value, failure, raised = None, b"", None
        # What is told lies in the slabs, which may be free once they are unpacked.
        alone, most = len(batch.parts) == 1, epoch.flow.most
        told: tuple[Any, ...]
        if alone:
            told = (self._told(epoch, process, first),)
            slabs_bytes = self._slabs_bytes(process, first)
        else:
            told = tuple(self._told(epoch, one, part) for one, part, _ in batch.parts)
            arrived_ns = max(at_ns for _, _, at_ns in batch.parts)
            slabs_bytes = sum(self._slabs_bytes(one, part) for one, part, _ in batch.parts)
        self.largest_bytes = max(self.largest_bytes, slabs_bytes)
        try:
            if alone:
                value = self._unpacked(process, first, most)
            else:
                value = joined([self._unpacked(one, part, most) for one, part, _ in batch.parts])
            failure = first.body if first.kind == Kind.RAISED else b""
        except Unfit:
            raise
        except Exception as error:  # of the user's own classes, when they are unpickled
            raised = error
        delivery = Delivery(told, arrived_ns, time.perf_counter_ns() - began_ns, held)
        return Taken(value, failure, raised, delivery)

    def _told(self, epoch: Epoch, process: int, record: Record) -> Any:
        samples = -1
        if self._job.batched and not self._job.iterable and not record.letter:
            samples = samples_in(epoch.share(record.number, record.part, record.parts)[1])
        seat, shelf = self._crew.seat_of(process), self._crew.shelves.of(process)
        return told_of(seat, record, shelf, samples)

    def _slabs_bytes(self, process: int, record: Record) -> int:
        return sum(map(self._crew.shelves.of(process).size, record.used))

    def _unpacked(self, process: int, record: Record, most: int) -> Any:
        if record.kind != Kind.BATCH:
            return None
        shelf = self._crew.shelves.of(process)
        kept: float = max(LEAST_KEPT_BYTES, self.largest_bytes * most)
        if self.kept_bytes is not None and self.kept_bytes < kept:
            kept = self.kept_bytes - sum(map(shelf.size, record.used))
            private = self._crew.shelves.leased_bytes > kept
            return unpack(parcel_of(record), shelf, private=private)
        return unpack(parcel_of(record), shelf, private=shelf.leased_bytes * len(self._crew) > kept)
