"""Where a stream of batches stands, for whoever is to go on from there."""

import pickle
from collections import deque
from typing import Any

from wellfed._engine.arrivals import streams_of
from wellfed._engine.epoch import Epoch
from wellfed._engine.leases import Shelf
from wellfed._engine.stream_states import StreamStates, parted
from wellfed._engine.wire import Record
from wellfed.job import Job, Start

__all__ = ["Standing"]


class Standing:
    """What rode with the batches of each home, and which of them the trainer was given."""

    def __init__(self, job: Job) -> None:
        """No batch has come yet."""
        self.streams = StreamStates(job.start.streams)
        """Where the random streams stood."""
        self._begun = job.start.held
        self._iterable, self._workers = job.iterable, job.workers
        self._epoch: Epoch
        self._held = StreamStates()
        """What their datasets said, after the number of the batch that they said it with."""
        self._taken: deque[tuple[int, int, int]] = deque()
        """Home, number and position of batches that are not handed over yet."""
        self._last: dict[int, int] = {}
        """Of each home: the last batch of this epoch that was handed over."""

    def came(self, process: int, record: Record, shelf: Shelf) -> None:
        """Take what rode with a batch of this process."""
        streams, held = parted(streams_of(record, shelf))
        # Workers that are passed over, once they are exhausted, have a process each.
        home = process if self._iterable else record.number % self._workers
        number, current = record.number, record.epoch == self._epoch.number
        if streams:
            self.streams.arrived(home, number, streams, current=current)
        if held and (current or not self._iterable):
            self._held.arrived(home, number, pickle.dumps((number, held)), current=current)

    def taken(self, home: int, number: int, position: int) -> None:
        """A batch is about to be handed over."""
        self._taken.append((home, number, position))

    def handed_over(self) -> None:
        """The first that was taken is the trainer's."""
        home, number, _ = self._taken.popleft()
        self._last[home] = number
        self.streams.delivered(home, number)
        self._held.delivered(home, number)

    def begin_epoch(self, epoch: Epoch) -> None:
        """It is the one that batches are taken of; what was taken before is dropped."""
        first, self._epoch = not hasattr(self, "_epoch"), epoch
        if first:
            return
        self._taken.clear()
        self._last.clear()
        if self._iterable:
            self._begun, self._held = {}, StreamStates()
        self.streams.begin_epoch()
        self._held.begin_epoch()

    def following(self) -> Start:
        """What to begin with to go on after the last batch that was handed over."""
        epoch, flow = self._epoch, self._epoch.flow
        coming, whose = flow.upcoming
        homes = flow.expected | {number: home for home, number, _ in self._taken}
        positions = {number: position for _, number, position in self._taken}
        number = min(homes, default=coming)
        # An exhausted worker's batches are passed over: they are not expected either.
        delivered = () if self._iterable else set(range(number, coming)).difference(homes)
        return Start(
            epoch=epoch.number,
            number=number,
            position=positions.get(number, epoch.position),
            turn=homes.get(number, whose),
            beyond=frozenset(delivered),
            streams=self.streams.last_delivered(),
            held=self._said(),
        )

    def _said(self) -> dict[int, Any]:
        """What datasets said with the last batch of each home; those that said nothing then lack.

        An iterable that was not asked in this epoch begins anew.
        """
        said = {home: one for home, one in self._begun.items() if home not in self._last}
        for home, packed in self._held.last_delivered().items():
            number, held = pickle.loads(packed)
            current = self._last.get(home, -1)
            if number == current or (current < 0 and not self._iterable):
                said[home] = pickle.loads(held)
        return said

    @property
    def homes(self) -> list[int]:
        """Those that batches of this epoch came from."""
        return list(self._last)
