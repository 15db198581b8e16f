"""A batch on its way: packed into slabs by the worker, taken out by the trainer.

    slab:  | payload: large leaves and buffers, each aligned | meta |
    meta:  | head | table: where each leaf and buffer lies | small leaves | pickle |

A batch that was collated into its slabs is not copied again. What is left over is copied once, by
the worker; the trainer copies only what is small. A short meta travels in the record itself.

Guarantees
- packing runs in the caller's thread, so the errors of the user's own pickling are raised there
- after packing, nothing in the worker refers to the batch
- leaves below 4 KiB are copied when unpacked: a label that is kept keeps no slab
"""

import ctypes
import itertools
import struct
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import UntypedStorage

from wellfed._engine.leases import Shelf
from wellfed._engine.rebuilding import LandedLeaf, Unpacker
from wellfed._engine.reductions import LARGE_BYTES, Packer, empty_storage
from wellfed._engine.slabs import Slabs, aligned

__all__ = ["INLINE_BYTES", "Parcel", "discard", "pack", "unpack"]

INLINE_BYTES = 384
"""Metas up to this long need no slab: the record then still fits one atomic write to a pipe."""

_HEAD = struct.Struct("=3q")  # leaves, buffers, length of the small leaves
_ROW_NUMBERS = 4  # slab (-1: in the meta), offset, length, where it began in the worker's storage
_IN_META = -1
_INLINE = -1


class Parcel(NamedTuple):
    """Where a batch lies. Small enough to be a record on a pipe."""

    slab: int
    """Where the meta lies; -1 when it is `inline`."""
    offset: int
    length: int
    used: tuple[int, ...]
    """All slabs of the batch, which are the trainer's until it gives them back."""
    inline: bytes = b""


class _Large(NamedTuple):
    """Bytes to be copied into the slab."""

    row: int
    """Where in the table they are listed."""
    offset: int
    length: int
    address: int
    raw: memoryview | None
    """The buffer itself, where its address is not known."""


def pack(value: Any, slabs: Slabs) -> Parcel:
    """Put a batch into slabs, and seal them.

    `slabs.begin()` comes first, before the batch is collated.

    Raises:
        Exception: whatever the user's own classes raise when pickled; the slabs are then free.
        SharedMemoryFull: there is no memory left for a new slab.
    """
    try:
        pickled: list[bytes] = []
        packer = Packer(SimpleNamespace(write=pickled.append))
        packer.dump(value)
        return _stored(packer, pickled, slabs)
    except BaseException:
        slabs.abandon()
        raise


def unpack(parcel: Parcel, shelf: Shelf, *, private: bool = False) -> Any:
    """Take a batch out of its slabs, which are free once the batch and all its aliases are gone.

    Args:
        parcel: what `pack` returned in the worker.
        shelf: the slabs of that worker.
        private: copy all of it, so that the slabs are free at once.

    Raises:
        Exception: whatever the user's own classes raise when unpickled.
    """
    shelf.lend(parcel.used)
    try:
        return _read(_meta(parcel, shelf), shelf, private)
    finally:
        shelf.settle(parcel.used)


def discard(parcel: Parcel, shelf: Shelf) -> None:
    """Nobody wants the batch: its slabs are free."""
    shelf.lend(parcel.used)
    shelf.settle(parcel.used)


def _stored(packer: Packer, pickled: list[bytes], slabs: Slabs) -> Parcel:
    rows: list[int] = []
    small: list[bytes] = []
    large: list[_Large] = []
    small_bytes = large_bytes = 0
    for leaf in packer.leaves:
        length = leaf.end - leaf.begin
        address = leaf.address + leaf.begin
        found = slabs.find(address, length) if length else None
        if found is not None:
            rows += (*found, length, leaf.begin)
        elif length < LARGE_BYTES:
            rows += (_IN_META, small_bytes, length, leaf.begin)
            small.append(ctypes.string_at(address, length))
            small_bytes += length
        else:
            large.append(_Large(len(rows), large_bytes, length, address, None))
            rows += (_IN_META, 0, length, leaf.begin)
            large_bytes += aligned(length)
    for raw in packer.buffers:
        large.append(_Large(len(rows), large_bytes, raw.nbytes, 0, raw))
        rows += (_IN_META, 0, raw.nbytes, 0)
        large_bytes += aligned(raw.nbytes)
    head = _HEAD.pack(len(packer.leaves), len(packer.buffers), small_bytes)
    meta_bytes = _HEAD.size + 8 * len(rows) + small_bytes + sum(map(len, pickled))
    if not large and meta_bytes <= INLINE_BYTES:
        inline = b"".join((head, _table(rows), *small, *pickled))
        return Parcel(_INLINE, 0, meta_bytes, tuple(slabs.seal()), inline)
    # One place for all of it: a batch should lie in one slab.
    slab, offset, address = slabs.place(large_bytes + meta_bytes)
    view = slabs.view(slab)
    for item in large:
        rows[item.row : item.row + 2] = (slab, offset + item.offset)
        if item.raw is None:
            ctypes.memmove(address + item.offset, item.address, item.length)
        else:
            begin = offset + item.offset
            view[begin : begin + item.length] = item.raw
    _write(view, offset + large_bytes, itertools.chain((head, _table(rows)), small, pickled))
    return Parcel(slab, offset + large_bytes, meta_bytes, tuple(slabs.seal()))


def _table(rows: list[int]) -> bytes:
    return struct.pack(f"={len(rows)}q", *rows)


def _write(view: memoryview, begin: int, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        end = begin + len(piece)
        view[begin:end] = piece
        begin = end


def _meta(parcel: Parcel, shelf: Shelf) -> memoryview:
    if parcel.slab == _INLINE:
        return memoryview(parcel.inline)
    return shelf.view(parcel.slab)[parcel.offset : parcel.offset + parcel.length]


def _read(meta: memoryview, shelf: Shelf, private: bool) -> Any:
    leaf_count, buffer_count, small_bytes = _HEAD.unpack_from(meta)
    small = _HEAD.size + 8 * _ROW_NUMBERS * (leaf_count + buffer_count)
    table: list[int] = meta[_HEAD.size : small].cast("q").tolist()
    rows = zip(*[iter(table)] * _ROW_NUMBERS, strict=True)
    leaves = [
        LandedLeaf(_copied(meta, small + offset, length), begin)
        if slab == _IN_META
        else LandedLeaf(_storage_in_slab(slab, offset, length, shelf, private), begin)
        for slab, offset, length, begin in itertools.islice(rows, leaf_count)
    ]
    buffers = [_buffer(slab, offset, length, shelf, private) for slab, offset, length, _ in rows]
    return Unpacker(meta[small + small_bytes :], leaves, buffers).load()


def _storage_in_slab(
    slab: int, offset: int, length: int, shelf: Shelf, private: bool
) -> UntypedStorage:
    if length < LARGE_BYTES:
        return _copied(shelf.view(slab), offset, length)
    if private:
        view = shelf.view(slab)[offset : offset + length]
        # Not `bytearray`, which would copy gigabytes while it holds the GIL.
        return torch.frombuffer(view, dtype=torch.uint8).clone().untyped_storage()
    exporter = shelf.storage(slab, offset, length)
    return torch.frombuffer(exporter, dtype=torch.uint8, count=length).untyped_storage()


def _copied(source: memoryview, offset: int, length: int) -> UntypedStorage:
    if not length:
        return empty_storage()
    copy = bytearray(source[offset : offset + length])
    return torch.frombuffer(copy, dtype=torch.uint8).untyped_storage()


def _buffer(slab: int, offset: int, length: int, shelf: Shelf, private: bool) -> memoryview:
    if private:
        return memoryview(bytearray(shelf.view(slab)[offset : offset + length]))
    # Every memoryview made of this one, or of an array on it, keeps the exporter.
    return memoryview(shelf.storage(slab, offset, length)).cast("B")[:length]
