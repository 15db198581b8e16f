"""A page of shared memory for each worker: what it is doing, and which of its slabs are free.

    trainer writes   slab s is free again (one byte each)
                     what the worker's slabs may take, and the batch that is waited for
    worker writes    the tasks in its hands, the place in the batch that it makes; its stacks

Reading and writing it costs no system call and wakes nobody. One side writes each place, except
that the worker clears a slab's byte once it has seen it.
"""

import mmap
import os

from wellfed._engine.memory import make_memory
from wellfed._engine.wire import Record, Task

__all__ = ["DROP", "FREE", "HANDS", "PAGE", "Board", "Page", "key_of", "turn"]

PAGE = 4096
STACKS = 4 * PAGE
"""Behind the page there is room for what faulthandler writes of a worker that hangs."""

SLABS = 3072
# Numbers of slabs grow for ever, and share a byte with those that are so many before them: a worker
# has a few slabs for each batch that is in the making or kept.
_FLAGS = PAGE - SLABS

FREE, DROP = 1, 2
"""What the trainer says of a slab: it may be written again; it is to be given back."""

HANDS = 64
"""Tasks that a worker may have in its hands at once; more than one only with threads."""

_PLACE, _TAKING, _WARM, _LISTENING = 0, 1, 2, 3
_ALLOWANCE, _CEILING, _WANTED = 8, 9, 10
_HANDS = _FLAGS // 8 - HANDS


def key_of(task: Task | Record) -> int:
    """What tells a task from all others that are out: its epoch, batch and part, in one number."""
    if task.epoch or task.part:
        return (task.epoch & 0x7FFF) << 48 | task.part << 32 | task.number & 0xFFFFFFFF
    return task.number


def turn(epoch: int, number: int) -> int:
    """When a batch has its turn: earlier ones, also of earlier epochs, are less. Never 0."""
    return (epoch << 40) + number + 1


class Board:
    """The memory of a worker's page, made by the trainer."""

    def __init__(self) -> None:
        self.fd = make_memory(PAGE + STACKS)
        self.page = Page(self.fd)

    def close(self) -> None:
        """Close the descriptor; the page stays."""
        os.close(self.fd)


class Page:
    """One worker's page, in the trainer or in the worker."""

    def __init__(self, fd: int) -> None:
        """Map it; the descriptor may be closed afterwards."""
        whole = memoryview(mmap.mmap(fd, PAGE + STACKS))
        self._words = whole[:_FLAGS].cast("q")
        self._flags = whole[_FLAGS:PAGE]
        self._stacks = whole[PAGE:]
        self._empty = list(range(_HANDS + HANDS - 1, _HANDS - 1, -1))
        self._hand_of: dict[int, int] = {}

    # -- tasks --------------------------------------------------------------------------------

    @property
    def taking(self) -> bool:
        """Whether the worker is about to take a task: it may have it, and have written nothing."""
        return bool(self._words[_TAKING])

    def take(self) -> None:
        """The worker: it is about to take a task, until `hold` or `missed`."""
        self._words[_TAKING] = 1

    def missed(self) -> None:
        """The worker: there was none."""
        self._words[_TAKING] = 0

    def hold(self, key: int) -> None:
        """The worker: it has this task in its hands from here on.

        Where it is `full` nothing is noted: such a task must come from its own socket.
        """
        if self._empty:
            hand = self._hand_of[key] = self._empty.pop()
            self._words[hand] = key + 1
        self._words[_TAKING] = 0

    def let_go(self, key: int) -> None:
        """The worker: what came of the task is on its way."""
        hand = self._hand_of.pop(key, None)
        if hand is not None:
            self._words[hand] = 0
            self._empty.append(hand)

    @property
    def full(self) -> bool:
        """Whether the worker can take no more."""
        return not self._empty

    def held(self) -> list[int]:
        """The trainer: keys of the tasks in the worker's hands."""
        return [word - 1 for word in self._words[_HANDS : _HANDS + HANDS] if word]

    @property
    def warm(self) -> bool:
        """Whether the worker has started, and not left: it takes the next task at once."""
        return bool(self._words[_WARM])

    @warm.setter
    def warm(self, yes: bool) -> None:
        self._words[_WARM] = yes

    # -- the batch in the making --------------------------------------------------------------

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

    # -- a worker that hangs ------------------------------------------------------------------

    @property
    def listening(self) -> bool:
        """Whether the worker writes its stacks when it is asked."""
        return bool(self._words[_LISTENING])

    @listening.setter
    def listening(self, yes: bool) -> None:
        self._words[_LISTENING] = yes

    def stacks(self) -> bytes:
        """The trainer: what was written so far, as far as there is room."""
        return bytes(self._stacks).partition(b"\0")[0]

    # -- slabs --------------------------------------------------------------------------------

    def say(self, slab: int, what: int) -> None:
        """The trainer: this slab is FREE, or to be DROPped."""
        self._flags[slab % SLABS] = what

    def heard(self, slab: int) -> int:
        """The worker: what was said of this slab since the last time; 0: nothing."""
        said = self._flags[slab % SLABS]
        if said:
            self._flags[slab % SLABS] = 0
        return said
