"""The worker's side of shared memory: slabs that batches are written into.

    reserve ──> used ──> seal ──> (the trainer reads) ──> give_back ──> reserve ...
       └────────── abandon: free at once

Only the worker allocates and only the trainer frees, so the two share no lock.

Guarantees
- a slab is written again only when the trainer has given it back *and* no alias of it lives in the
  worker: a collate function may keep what it returned
- a slab that another process forked from the worker may still read is never written again
"""

import os
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from wellfed._engine.memory import make_memory
from wellfed._engine.regions import Exporter, Holders, Region, rounded

__all__ = ["ALIGN_BYTES", "Place", "Reserved", "Slabs", "aligned", "slab_bytes"]

ALIGN_BYTES = 64
"""A cache line, and what torch's own allocator gives."""

_STEP_BYTES = 1 << 16

# Arbitrary: long enough for sizes that come in turns, short enough to follow a real change.
_REMEMBERED_BATCHES = 8
_SURPLUS_AFTER_BATCHES = 64


class Reserved(NamedTuple):
    """A range of a slab that is held for as long as its exporter lives."""

    slab: int
    offset: int
    exporter: Exporter
    """At least as many bytes as were asked for."""


class Place(NamedTuple):
    """A range of a slab to write to before the batch is sealed."""

    slab: int
    offset: int
    address: int


class _Slab:
    __slots__ = ("filled", "last_batch", "lent", "region")

    def __init__(self, region: Region) -> None:
        self.region = region
        self.filled = 0
        self.lent = False
        self.last_batch = 0


class Slabs:
    """The slabs of one worker process, made in it.

    Used by one thread, except that holders may end in any.
    """

    def __init__(
        self,
        make: Callable[[int], int] = make_memory,
        may_grow: Callable[[int], bool] = lambda _nbytes: True,
    ) -> None:
        """There are none yet.

        Args:
            make: gives a descriptor of so much memory.
            may_grow: whether a slab of so many bytes may be made. It is asked until it says yes, or
                until a slab that fits has come free, and is to wait a moment before it says no.
        """
        self.pid = os.getpid()
        """The process whose slabs these are. A child has them mapped, and must leave them alone."""
        self._make = make
        self._may_grow = may_grow
        self._slabs: dict[int, _Slab] = {}
        self._free: list[int] = []  # the most recently freed last
        self._batch: list[int] = []
        self._sealed = False
        self._fresh: list[tuple[int, int, int]] = []
        self._retired: list[int] = []
        self._holders = Holders()
        self._next_slab = 0
        self._batches = 0
        self._reserved_bytes = 0
        self._recent_bytes: deque[int] = deque(maxlen=_REMEMBERED_BATCHES)

    def begin(self) -> None:
        """A new batch: nothing is reserved yet. What an unsealed one had reserved is free again."""
        if not self._sealed:
            self.abandon()
        elif self._reserved_bytes:
            self._recent_bytes.append(self._reserved_bytes)
        self._batch = []
        self._sealed = False
        self._reserved_bytes = 0
        self._batches += 1
        self._retire_surplus()

    def expect(self, nbytes: int) -> None:
        """Take one slab that holds that much, should a batch need a slab.

        Sizes of the last batches are remembered without being told.
        """
        self._recent_bytes.append(nbytes)

    def reserve(self, nbytes: int, align: int = ALIGN_BYTES) -> Reserved:
        """Room in a slab of this batch, which stays held while any alias of it lives."""
        slab, offset, _ = self.place(nbytes, align)
        exporter = self._holders.export(slab, self._slabs[slab].region, offset, nbytes)
        return Reserved(slab, offset, exporter)

    def place(self, nbytes: int, align: int = ALIGN_BYTES) -> Place:
        """Room in a slab of this batch: in its current one, else a free one, else a new one.

        Raises:
            SharedMemoryFull: there is no memory left for a new slab.
        """
        for number in reversed(self._batch):
            slab = self._slabs[number]
            offset = aligned(slab.filled, align)
            if offset + nbytes <= slab.region.nbytes:
                break
        else:
            number, slab = self._take(nbytes + align)
            offset = 0
        self._reserved_bytes += offset + nbytes - slab.filled
        slab.filled = offset + nbytes
        return Place(number, offset, slab.region.address + offset)

    def find(self, address: int, nbytes: int) -> tuple[int, int] | None:
        """The slab of this batch and the offset in it at which these bytes lie already."""
        for number in self._batch:
            region = self._slabs[number].region
            offset = address - region.address
            if 0 <= offset <= region.nbytes - nbytes:
                return number, offset
        return None

    def view(self, slab: int) -> memoryview:
        """The bytes of a slab, to write to at once."""
        return self._slabs[slab].region.view

    def used(self) -> list[int]:
        """The slabs of this batch."""
        return list(self._batch)

    def seal(self) -> list[int]:
        """The batch is on its way: its slabs are the trainer's until it gives them back."""
        self._sealed = True
        for number in self._batch:
            self._slabs[number].lent = True
        return list(self._batch)

    def abandon(self) -> None:
        """The batch failed, or could not be sent: its slabs are free. Harmless when repeated."""
        batch, self._batch = self._batch, []
        for number in batch:
            self._slabs[number].lent = False
            self._free.append(number)
        self._sealed = False
        self._reserved_bytes = 0

    def fresh(self) -> list[tuple[int, int, int]]:
        """(slab, bytes, descriptor) of those the trainer has not been told of: then call `told`."""
        return list(self._fresh)

    def told(self) -> None:
        """The trainer has the descriptors of the fresh ones: close ours."""
        for _, _, descriptor in self._fresh:
            os.close(descriptor)
        self._fresh.clear()

    def retired(self) -> list[int]:
        """Slabs let go of since the last call, being surplus: the trainer is to drop them too."""
        retired, self._retired = self._retired, []
        return retired

    def give_back(self, slab: int) -> None:
        """The trainer says that it reads the slab no more. Of one we have dropped, nothing."""
        known = self._slabs.get(slab)
        if known is not None and known.lent:
            known.lent = False
            if slab in self._batch:
                self._batch.remove(slab)
            self._free.append(slab)

    def drop(self, slab: int) -> None:
        """The trainer wants the slab gone. It is unmapped once nothing in the worker holds it."""
        self._slabs.pop(slab, None)
        for known in (self._free, self._batch):
            if slab in known:
                known.remove(slab)
        for entry in [entry for entry in self._fresh if entry[0] == slab]:
            os.close(entry[2])
            self._fresh.remove(entry)

    def close(self) -> None:
        """Let go of all slabs and descriptors. Harmless when called twice."""
        self.told()
        self._slabs.clear()
        self._free.clear()
        self._batch.clear()

    @property
    def bytes(self) -> int:
        """What all slabs together occupy."""
        return sum(slab.region.nbytes for slab in self._slabs.values())

    def _take(self, nbytes: int) -> tuple[int, _Slab]:
        """Add to the batch the best-fitting free slab, or else a new one."""
        expected = max(self._recent_bytes, default=0) - self._reserved_bytes
        wanted = max(nbytes, expected)
        # No smaller than what the batch has so far: few new slabs hold a batch of any size, and
        # their descriptors fit one message.
        size = slab_bytes(max(wanted, self._reserved_bytes))
        number = self._best_free(wanted)
        while number is None and not self._may_grow(size):
            number = self._best_free(wanted)
        if number is None:
            number = self._new(size)
        else:
            self._free.remove(number)
        slab = self._slabs[number]
        slab.filled = 0
        slab.last_batch = self._batches
        self._batch.append(number)
        return number, slab

    def _best_free(self, nbytes: int) -> int | None:
        self._holders.ended()
        best: tuple[int, int] | None = None
        for number in reversed(self._free):
            size = self._slabs[number].region.nbytes
            fits = size >= nbytes and (best is None or size < best[0])
            if fits and self._writable(number):
                best = (size, number)
        return None if best is None else best[1]

    def _writable(self, slab: int) -> bool:
        return not self._holders.holds(slab) and slab not in self._holders.frozen

    def _new(self, size: int) -> int:
        descriptor = self._make(size)
        try:
            region = Region(descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise
        number = self._next_slab
        self._next_slab += 1
        self._slabs[number] = _Slab(region)
        self._fresh.append((number, size, descriptor))
        return number

    def _retire_surplus(self) -> None:
        """Let go of slabs that no batch has needed for long: sizes change, and so do habits."""
        horizon = self._batches - _SURPLUS_AFTER_BATCHES
        for slab in [n for n in self._free if self._slabs[n].last_batch < horizon]:
            self._retire(slab)

    def trim(self, most_bytes: int) -> None:
        """Let go of free slabs until all together take no more than this, or none is free."""
        for slab in list(self._free):
            if self.bytes <= most_bytes:
                return
            self._retire(slab)

    def _retire(self, slab: int) -> None:
        if not any(slab == entry[0] for entry in self._fresh):
            self._retired.append(slab)
        self.drop(slab)


def slab_bytes(nbytes: int) -> int:
    """Size of a slab that is made for so many bytes."""
    return aligned(rounded(nbytes), _STEP_BYTES)


def aligned(nbytes: int, align: int = ALIGN_BYTES) -> int:
    """The next multiple."""
    return -(-nbytes // align) * align
