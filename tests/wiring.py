"""A worker's slabs and the trainer's shelf in one process, with a descriptor for a wire."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wellfed._engine.leases import Shelf
from wellfed._engine.parcel import Parcel, discard, pack, unpack
from wellfed._engine.slabs import Slabs


class Wire:
    """Both ends of what an engine would connect."""

    def __init__(self) -> None:
        self.slabs = Slabs()
        self.shelf = Shelf()

    def tell(self) -> None:
        """The trainer learns of new slabs."""
        for slab, nbytes, descriptor in self.slabs.fresh():
            self.shelf.adopt(slab, nbytes, os.dup(descriptor))
        self.slabs.told()

    def pack(self, value: Any) -> Parcel:
        self.slabs.begin()
        parcel = pack(value, self.slabs)
        self.tell()
        return parcel

    def cross(self, value: Any, *, private: bool = False) -> Any:
        return unpack(self.pack(value), self.shelf, private=private)

    def give_back(self) -> list[int]:
        """The worker learns of free slabs; returns which."""
        freed = self.shelf.freed()
        for slab in freed:
            self.slabs.give_back(slab)
        for slab in self.shelf.spent():
            self.slabs.drop(slab)
        for slab in self.slabs.retired():
            self.shelf.drop(slab)
        return freed

    def overwrite(self, nbytes: int, rounds: int = 4) -> None:
        """Write over every slab that may be written to, as often as asked."""
        for _ in range(rounds):
            self.give_back()
            discard(self.pack(bytearray_of_ones(nbytes)), self.shelf)
        self.give_back()

    def close(self) -> None:
        self.slabs.close()
        self.shelf.close()


@contextmanager
def wired() -> Iterator[Wire]:
    wire = Wire()
    try:
        yield wire
    finally:
        wire.close()


def bytearray_of_ones(nbytes: int) -> Any:
    import torch

    return torch.full((nbytes,), 255, dtype=torch.uint8)


def mappings() -> int:
    """How many slabs this process has mapped."""
    return Path("/proc/self/maps").read_text().count("memfd:wellfed")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
