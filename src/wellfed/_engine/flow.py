"""Which batch is made where, and which is delivered next. Pure: no process, no clock, no torch.

    add ──► waiting ──send──► making ──arrived──► ready ──next──► delivered
              ▲                  │
              └────── refused, or its maker died ─────┘

A batch has a home: logical worker k mod N, as in torch. It is sent to its home's own queue, or,
where a batch depends on nothing but its indices, to the queue that all workers read from.

    TRYING    the first batch shows whether batches may move: made in parts by all workers side by
              side, before anything else is sent; or, where that gains nothing, by its home
    FREE      no part drew, changed the dataset or asked who it is: any worker makes any batch
    SETTLING  one did after all: nothing new is sent until all that is out has come back
    FIXED     every batch is made by its home, in order

Guarantees
- every number is delivered once; in order, unless order was waived;
- no more than `window` batches are out or undelivered, and no more than `most` by memory, but for
  the one that is due, which is always made; a window that shrinks is kept to as batches are
  delivered;
- a batch that was refused is made again by its home, before any later batch of that home;
- an exhausted worker's later batches are passed over, as in torch.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

__all__ = ["Deliver", "End", "Flow", "Mode", "Send", "Wait"]


class Mode(Enum):
    """How freely batches may move between workers."""

    TRYING = "trying"
    FREE = "free"
    SETTLING = "settling"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class Send:
    """Have this part of a batch made."""

    number: int
    home: int
    part: int = 0
    parts: int = 1
    anywhere: bool = False
    """By whichever worker is idle; else by the home."""
    trial: bool = False
    """Whether to find out if batches may move."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand this batch over; what arrived for each of its parts is with it."""

    number: int
    home: int
    parts: tuple[Any, ...]


class Wait:
    """Nothing can be handed over before more has arrived."""


class End:
    """All batches of the epoch were delivered."""


@dataclass(slots=True)
class _Batch:
    number: int
    home: int
    parts: int = 1
    out: int = 0
    """Parts sent and not back yet."""
    refused: bool = False
    got: dict[int, Any] = field(default_factory=dict)
    at_home: bool = False
    """Whether it was last sent to its home."""

    @property
    def ready(self) -> bool:
        return len(self.got) == self.parts


class Flow:
    """One epoch's batches."""

    def __init__(
        self,
        *,
        workers: int,
        window: int,
        in_order: bool = True,
        mode: Mode = Mode.FIXED,
        first: int = 0,
        turn: int = 0,
    ) -> None:
        """Nothing is in flight.

        Args:
            workers: logical workers.
            window: most batches read and not yet delivered: torch's workers x prefetch_factor.
            in_order: whether batch k comes before batch k+1.
            mode: TRYING to begin with a trial, FREE or FIXED if that is already known.
            first: number of the first batch.
            turn: its home.
        """
        self.mode = mode
        self.most = window
        """Most batches that may be out or ready at once; lowered where memory is short."""
        self.split = 0
        """Parts of the trial batch, which is then waited for; 0: its home makes it as a whole, and
        goes on with its next ones."""
        self._window = window
        self._owed = 0
        """Indices to read besides one for each delivery; below 0: so many are not to be read."""
        self._workers = workers
        self._in_order = in_order
        self._active = [True] * workers
        self._turn = turn
        self._read = self._first = first
        self._all_read = False
        self._batches: dict[int, _Batch] = {}
        self._waiting: deque[int] = deque()
        self._arrived: deque[int] = deque()
        """Ready batches in the order of arrival; used where order is waived."""

    # -- what the driver reads from the sampler -----------------------------------------------

    def add(self) -> int | None:
        """One more index was read from the sampler.

        Returns:
            The number of its batch; None if every worker is exhausted, and the index is lost.
        """
        for _ in range(self._workers):
            home = self._turn
            self._turn = (self._turn + 1) % self._workers
            if self._active[home]:
                break
        else:
            return None
        number = self._read
        self._read += 1
        self._batches[number] = _Batch(number, home)
        self._waiting.append(number)
        return number

    def no_more(self) -> None:
        """The sampler is exhausted."""
        self._all_read = True

    def skip(self, number: int) -> None:
        """The batch that was just added is not wanted."""
        del self._batches[number]
        self._waiting.remove(number)

    @property
    def upcoming(self) -> tuple[int, int]:
        """Number and home of the batch that is added next, while no worker is exhausted."""
        return self._read, self._turn

    @property
    def expected(self) -> dict[int, int]:
        """The homes of batches that were added and are not delivered."""
        return {number: one.home for number, one in self._batches.items()}

    def resize(self, window: int) -> None:
        """The window has another size from here on; `reads` says what that means for reading."""
        self.most = window if self.most == self._window else min(self.most, window)
        self._owed += window - self._window
        self._window = window

    def reads(self) -> int:
        """How many indices to read in return for a batch that is delivered."""
        due, self._owed = 1 + self._owed, min(0, self._owed + 1)
        return max(0, due)

    @property
    def reads_less(self) -> bool:
        """Whether more is read than the window has room for, because that has shrunk."""
        return self._owed < 0

    @property
    def undelivered(self) -> int:
        """Batches read and not yet delivered."""
        return len(self._batches)

    # -- sending ------------------------------------------------------------------------------

    def sends(self) -> list[Send]:
        """What to send now."""
        if self.mode is Mode.TRYING and self.split:
            return self._split_trial()
        if self.mode is Mode.SETTLING:
            if self.out:
                return []
            self.mode = Mode.FIXED
        sends: list[Send] = []
        room = self.most - self._busy
        anywhere = self.mode is Mode.FREE
        # The one that is due always, however many later ones are held: all wait for it.
        while self._waiting and (room > 0 or self._waiting[0] == self.due):
            one = self._batches[self._waiting.popleft()]
            one.parts = one.out = 1
            one.at_home = not anywhere
            # All that goes home before the first is back: a draw among them is seen, too.
            trial = self.mode is Mode.TRYING
            sends.append(Send(one.number, one.home, anywhere=anywhere, trial=trial))
            room -= 1
        return sends

    def _split_trial(self) -> list[Send]:
        if not self._waiting or self.out:
            return []
        one = self._batches[self._waiting.popleft()]
        one.parts = one.out = self.split
        # By whoever is there: a quick batch is made before the last worker has started.
        return [
            Send(one.number, one.home, part, one.parts, anywhere=True, trial=True)
            for part in range(one.parts)
        ]

    @property
    def out(self) -> int:
        """Parts sent and not back yet."""
        return sum(one.out for one in self._batches.values())

    @property
    def rootless(self) -> bool:
        """Whether no home's streams have moved, nor may: any process can be any home's."""
        homely = any(one.out and one.at_home for one in self._batches.values())
        return self.mode is Mode.FREE and not homely

    def got(self) -> list[Any]:
        """What has arrived of batches that are not delivered."""
        return [what for one in self._batches.values() for what in one.got.values()]

    @property
    def ready(self) -> int:
        """Batches that have come back whole and are not delivered."""
        return sum(one.ready for one in self._batches.values())

    @property
    def due(self) -> int:
        """The batch that is delivered next, or the first of those that may be; -1: none is."""
        return min(self._batches, default=-1)

    @property
    def first_out(self) -> int:
        """The first batch that was sent and is not back yet; -1: there is none."""
        return min((number for number, one in self._batches.items() if one.out), default=-1)

    @property
    def _busy(self) -> int:
        return len(self._batches) - len(self._waiting)

    # -- what comes back ----------------------------------------------------------------------

    def arrived(self, number: int, part: int, what: Any) -> bool:
        """A part has come back.

        Returns:
            Whether it is wanted; not if the batch is no longer expected, or came twice.
        """
        one = self._batches.get(number)
        if one is None or part in one.got or not one.out:
            return False
        one.out -= 1
        if one.refused:
            self._again_if_back(one)
            return False
        one.got[part] = what
        if one.ready:
            if not self._in_order:
                self._arrived.append(number)
            if self.mode is Mode.TRYING and number == self._first:
                self.mode = Mode.FREE
        return True

    def stay(self) -> None:
        """Batches turned out to depend on more than their indices: none may move from here on."""
        if self.mode is not Mode.FIXED:
            self.mode = Mode.SETTLING

    def refused(self, number: int) -> list[Any]:
        """A part has come back without a result: it may not be made away from its home.

        Returns:
            What had arrived of the batch's other parts, to be given back.
        """
        one = self._batches.get(number)
        if one is None or not one.out:
            return []
        one.out -= 1
        return self._refuse(one)

    def dropped(self) -> list[Any]:
        """What has arrived and nobody will ask for: the epoch is over, and is asked no more."""
        return [came for one in self._batches.values() for came in one.got.values()]

    def unmake(self, batch: Deliver) -> None:
        """A batch's parts did not fit together: its home makes it again, as a whole."""
        one = self._batches[batch.number] = _Batch(batch.number, batch.home)
        self._refuse(one)

    def _refuse(self, one: _Batch) -> list[Any]:
        given, one.got, one.refused = list(one.got.values()), {}, True
        self.stay()
        self._again_if_back(one)
        return given

    def _again_if_back(self, one: _Batch) -> None:
        if one.out:
            return
        one.refused, one.parts = False, 1
        self._waiting = deque(sorted([*self._waiting, one.number]))

    def exhausted(self, worker: int, number: int) -> None:
        """A worker's iterable dataset ended when asked for this batch: it gives no more."""
        self._active[worker] = False
        for one in list(self._batches.values()):
            if one.home == worker and one.number >= number and not one.got:
                del self._batches[one.number]
        self._waiting = deque(n for n in self._waiting if n in self._batches)

    def out_of(self, home: int) -> list[int]:
        """Numbers of the batches that this home's worker was sent and has not given back."""
        return sorted(n for n, one in self._batches.items() if one.home == home and one.out)

    def awaited(self) -> tuple[int, int] | None:
        """Number and home of the batch that is to come next; None if all have come."""
        coming = [one for one in self._batches.values() if not one.ready]
        return min(((one.number, one.home) for one in coming), default=None)

    # -- delivering ---------------------------------------------------------------------------

    def next(self) -> Deliver | Wait | End:
        """What to do for the trainer now."""
        if not self._batches:
            return End() if self._all_read or not any(self._active) else Wait()
        if not self._in_order:
            number = self._arrived.popleft() if self._arrived else None
        else:
            number = min(self._batches)
            if not self._batches[number].ready:
                number = None
        if number is None:
            return Wait()
        one = self._batches.pop(number)
        return Deliver(number, one.home, tuple(one.got[part] for part in range(one.parts)))

    def check(self) -> None:
        """Raise AssertionError where an invariant does not hold; for tests."""
        waiting = set(self._waiting)
        assert len(waiting) == len(self._waiting), "a batch waits twice"
        assert list(self._waiting) == sorted(self._waiting), "batches wait out of order"
        assert waiting <= set(self._batches), "a batch waits that is not expected"
        for number, one in self._batches.items():
            assert number == one.number
            assert (number in waiting) == (not one.out and not one.got), "a batch is lost"
            assert 0 <= one.out <= one.parts
            assert not one.refused or one.out, "a refused batch has nothing to wait for"
            assert one.refused or one.out + len(one.got) in (0, one.parts), "a part is lost"
        # Each delivery is followed by its reads: then this is the window, or still above it.
        assert self._owed <= 0 or self.undelivered <= self._window, "too much was read"
        if self.mode is Mode.FREE:
            assert all(one.parts == 1 or one.ready for one in self._batches.values())
