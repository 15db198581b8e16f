"""What came from the workers: where a batch lies, and what was told of its making."""

import time
from typing import Any

from wellfed._engine.leases import Shelf
from wellfed._engine.parcel import Parcel
from wellfed._engine.wire import Record

__all__ = ["Came", "left_s", "parcel_of", "told_of"]

Came = tuple[int, Record, int]
"""A record, after the number of its process, and with when it was read."""


def parcel_of(record: Record) -> Parcel:
    """Where the batch lies."""
    return Parcel(record.slab, record.offset, record.length, record.used, record.body)


def told_of(process: int, record: Record, shelf: Shelf, samples: int) -> Any:
    """What its worker told of the making of a part, as `Delivery.told` holds it.

    Args:
        process: number of the worker's process.
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


def left_s(deadline: float | None, timeout_s: float) -> float | None:
    """How long to wait still; None: for ever.

    Raises:
        RuntimeError: no longer, in torch's words.
    """
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise RuntimeError(f"DataLoader timed out after {timeout_s} seconds")
    return left
