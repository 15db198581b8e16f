"""One epoch as the trainer asks for it: its indices, and the tasks that they become."""

from collections.abc import Iterator
from typing import Any

from wellfed._engine.flow import Flow, Send
from wellfed._engine.interrupts import Calm
from wellfed._engine.positions import samples_in
from wellfed._engine.wire import Task
from wellfed.job import Start

__all__ = ["Epoch"]


class Epoch:
    """What was read from the sampler and is not delivered yet."""

    def __init__(self, indices: Iterator[Any], flow: Flow, calm: Calm, start: Start) -> None:
        """Nothing is read yet.

        Args:
            indices: what torch's fetcher takes, one for each batch.
            flow: which batch is made where.
            calm: opened while the sampler runs, which is the user's code.
            start: where it begins.
        """
        self.number = start.epoch
        self.flow = flow
        self._indices = indices
        self._calm = calm
        self._position = start.position
        self._first = start.number
        self._beyond = start.beyond
        self._asked: dict[int, tuple[int, Any]] = {}
        """Position in the epoch and index, of each batch."""

    def read(self) -> None:
        """Read one more index, which is the next batch's."""
        while self._read_one() in self._beyond:
            continue

    def _read_one(self) -> int:
        """The number of its batch; -1 if there is none."""
        try:
            with self._calm.opened:
                index = next(self._indices)
        except StopIteration:
            self.flow.no_more()
            return -1
        except Exception:
            # It is asked again while batches are left, as in torch, but not for its own sake.
            self.flow.no_more()
            raise
        number = self.flow.add()
        if number is None:
            return -1
        if number in self._beyond:
            self.flow.skip(number)
        else:
            self._asked[number] = self._position, index
        self._position += samples_in(index)
        return number

    def read_on(self) -> None:
        """In return for a batch that is delivered: one index, or what a new window asks for."""
        for _ in range(self.flow.reads()):
            self.read()

    @property
    def first(self) -> Any:
        """The index of the first batch; None once that is delivered, or where there is none."""
        return self._asked.get(self._first, (0, None))[1]

    @property
    def untouched(self) -> bool:
        """Whether no batch was delivered."""
        return list(self._asked) == list(range(self._first, self._first + len(self._asked)))

    def task(self, send: Send) -> Task:
        """What a worker is told of this part of a batch."""
        position, index = self.share(send.number, send.part, send.parts)
        return Task(
            epoch=self.number,
            number=send.number,
            home=send.home,
            part=send.part,
            parts=send.parts,
            moved=send.anywhere,
            trial=send.trial,
            position=position,
            index=index,
        )

    def share(self, number: int, part: int, parts: int) -> tuple[int, Any]:
        """Where in the epoch a part of a batch begins, and its share of the indices."""
        position, index = self._asked[number]
        if parts == 1:
            return position, index
        share = -(-len(index) // parts)
        return position + part * share, index[part * share : (part + 1) * share]

    def delivered(self, number: int) -> int:
        """A batch is handed over; returns its position."""
        return self._asked.pop(number)[0]

    @property
    def position(self) -> int:
        """Of the first sample of the first batch that was not delivered."""
        first = min(self._asked, default=None)
        return self._position if first is None else self._asked[first][0]

    def again(self, flow: Flow) -> None:
        """All that was read is asked for anew."""
        self.flow = flow
        for _ in self._asked:
            flow.add()
