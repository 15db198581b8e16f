"""A page of shared memory for each worker: what it is doing, and which of its slabs are free.

    trainer writes   slab s is free again (one byte each)
                     what the worker's slabs may take, and the batch that is waited for
    worker writes    the batch it is making, the place in it, the process's beginning

Reading and writing it costs no system call and wakes nobody. One side writes each place, except
that the worker clears a slab's byte once it has seen it.
"""

import mmap
import os

from wellfed._engine.memory import make_memory

__all__ = ["DROP", "FREE", "Board", "Page", "turn"]

PAGE = 4096
SLABS = 3072
# Numbers of slabs grow for ever, and share a byte with those that are so many before them: a worker
# has a few slabs for each batch that is in the making or kept.
_FLAGS = PAGE - SLABS

FREE, DROP = 1, 2
"""What the trainer says of a slab: it may be written again; it is to be given back."""

_NUMBER, _PLACE, _WARM = 0, 1, 2
_ALLOWANCE, _CEILING, _WANTED = 8, 9, 10


def turn(epoch: int, number: int) -> int:
    """When a batch has its turn: earlier ones, also of earlier epochs, are less. Never 0."""
    return (epoch << 40) + number + 1


class Board:
    """The memory of a worker's page, made by the trainer."""

    def __init__(self) -> None:
        self.fd = make_memory(PAGE)
        self.page = Page(self.fd)

    def close(self) -> None:
        """Close the descriptor; the page stays."""
        os.close(self.fd)


class Page:
    """One worker's page, in the trainer or in the worker."""

    def __init__(self, fd: int) -> None:
        """Map it; the descriptor may be closed afterwards."""
        whole = memoryview(mmap.mmap(fd, PAGE))
        self._words = whole[:_FLAGS].cast("q")
        self._flags = whole[_FLAGS:]

    @property
    def number(self) -> int:
        """The batch being made; -1 between two."""
        return self._words[_NUMBER] - 1

    @number.setter
    def number(self, number: int) -> None:
        self._words[_NUMBER] = number + 1

    @property
    def place(self) -> int:
        """Which sample of the batch is being fetched."""
        return self._words[_PLACE]

    @place.setter
    def place(self, place: int) -> None:
        self._words[_PLACE] = place

    @property
    def allowance_bytes(self) -> int:
        """What the worker's slabs may take; 0: that was not said."""
        return self._words[_ALLOWANCE]

    @property
    def ceiling_bytes(self) -> int:
        """What all workers' slabs together may take."""
        return self._words[_CEILING]

    def allow(self, allowance_bytes: int, ceiling_bytes: int) -> None:
        """The trainer: what slabs may take, this worker's and all together."""
        self._words[_ALLOWANCE], self._words[_CEILING] = allowance_bytes, ceiling_bytes

    @property
    def wanted(self) -> int:
        """Up to which batch all are to be made whatever they take, as `turn` has it; 0: none."""
        return self._words[_WANTED]

    @wanted.setter
    def wanted(self, turn: int) -> None:
        self._words[_WANTED] = turn

    @property
    def warm(self) -> bool:
        """Whether the worker has started: it takes the next task at once."""
        return bool(self._words[_WARM])

    @warm.setter
    def warm(self, yes: bool) -> None:
        self._words[_WARM] = yes

    def say(self, slab: int, what: int) -> None:
        """The trainer: this slab is FREE, or to be DROPped."""
        self._flags[slab % SLABS] = what

    def heard(self, slab: int) -> int:
        """The worker: what was said of this slab since the last time; 0: nothing."""
        said = self._flags[slab % SLABS]
        if said:
            self._flags[slab % SLABS] = 0
        return said
