"""The trainer's side of shared memory: one worker's slabs, and which of them are still read.

    adopt ──> lend ──> storage ... ──> settle ──> (a kept batch) ──> freed ──> the worker
                                                                  └──> spent: never again

Guarantees
- a slab is reported free once, after the last alias of anything built on it has died
- a slab that was held when the user forked is never reported free; it is spent instead
- mappings outlive `drop` and `close` for as long as anything built on them lives
"""

import os
from collections.abc import Collection, Iterable

from wellfed._engine.regions import Exporter, Holders, Region

__all__ = ["Shelf"]


class Shelf:
    """The slabs of one worker as the trainer sees them. Used by one thread at a time."""

    def __init__(self) -> None:
        self._regions: dict[int, Region] = {}
        self._sizes: dict[int, int] = {}  # also of dropped ones, while they are held
        self._holders = Holders()
        self._idle: dict[int, None] = {}
        self._spent: list[int] = []

    def adopt(self, slab: int, nbytes: int, descriptor: int) -> None:
        """Map a slab the worker has made. The descriptor is closed, also on failure.

        Not populated beforehand: on 50 MB that took longer than the faults it saves.
        """
        try:
            self._regions[slab] = Region(descriptor, nbytes)
        finally:
            os.close(descriptor)
        self._sizes[slab] = nbytes

    def storage(self, slab: int, offset: int, nbytes: int) -> Exporter:
        """Bytes to build on. While any alias of what was built lives, the slab is leased."""
        return self._holders.export(slab, self._regions[slab], offset, nbytes)

    def view(self, slab: int) -> memoryview:
        """The bytes of a slab, to read before it is settled."""
        return self._regions[slab].view

    def lend(self, slabs: Iterable[int]) -> None:
        """A batch of these slabs is being unpacked: none of them is free before `settle`."""
        for slab in slabs:
            self._holders.hold(slab)

    def settle(self, slabs: Iterable[int]) -> None:
        """It is unpacked. Slabs that nothing was built on are free."""
        for slab in slabs:
            self._holders.release(slab)

    @property
    def stirred(self) -> bool:
        """Whether `freed` or `spent` may have something to tell."""
        return bool(self._idle or self._spent or self._holders.stirred)

    def freed(self) -> list[int]:
        """Slabs whose last lease ended since the last call: to be given back to the worker."""
        self._collect()
        freed = [slab for slab in self._idle if slab in self._regions]
        self._idle.clear()
        return freed

    def spent(self) -> list[int]:
        """Slabs dropped here since the last call, which the worker is to drop as well."""
        self._collect()
        spent, self._spent = self._spent, []
        return spent

    @property
    def bytes(self) -> int:
        """What is mapped: the slabs at hand, and those dropped that are still read."""
        self._collect()
        return sum(self._sizes.values())

    @property
    def leased_bytes(self) -> int:
        """How much of that is kept from the worker by batches that live."""
        self._collect()
        return sum(self._sizes[slab] for slab in self._holders.held())

    def size(self, slab: int) -> int:
        """Bytes of a slab that is mapped."""
        return self._sizes[slab]

    def drop(self, slab: int) -> None:
        """Forget a slab. Its memory is returned with its last lease."""
        self._regions.pop(slab, None)
        if not self._holders.holds(slab):
            self._sizes.pop(slab, None)

    def keep(self, needed: Collection[int]) -> None:
        """Drop all slabs but these: the worker will write to none of them any more."""
        for slab in [slab for slab in self._regions if slab not in needed]:
            self.drop(slab)

    def close(self) -> None:
        """Drop all slabs. Harmless when called twice."""
        self._collect()
        for slab in list(self._regions):
            self.drop(slab)

    def _collect(self) -> None:
        if not self._holders.stirred:
            return
        for slab in self._holders.ended():
            if slab not in self._regions:
                self._sizes.pop(slab, None)
            elif slab in self._holders.frozen:
                self.drop(slab)
                self._spent.append(slab)
            else:
                self._idle[slab] = None
