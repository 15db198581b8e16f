"""Which batches are being copied, which comes next, and when their sources may go. Pure.

    take ──► copying ──arrived──► here ──next──► handed over
                        │
                        └─ marked: the device still reads ──done──► the source is free

A source is what a batch was before it was copied: tensors on a worker's slabs. It is free once
nothing reads it any more, which may be long before the copy is handed over, or after.

Guarantees
- batches are handed over in the order they were taken, each once, and never before their copy is
  there;
- no more than `most` are taken and not handed over;
- a source is freed once, and only after its copy is there and the device has done with it, also
  when nobody wants the batch any more.
"""

from collections import deque

__all__ = ["InFlight"]


class InFlight:
    """The batches between the stream that makes them and the loop that uses them."""

    def __init__(self, most: int) -> None:
        """Nothing is in flight.

        Args:
            most: batches that may be taken and not handed over.
        """
        self._most = most
        self._taken = 0
        self._wanted: deque[int] = deque()
        """Taken and not handed over, in order."""
        self._copying: set[int] = set()
        self._marked: set[int] = set()
        self._freed: list[int] = []

    @property
    def room(self) -> bool:
        """Whether another batch may be taken."""
        return len(self._wanted) < self._most

    @property
    def undelivered(self) -> int:
        """Batches taken, wanted, and not handed over."""
        return len(self._wanted)

    def take(self) -> int:
        """A batch was taken to be copied; its number."""
        number = self._taken
        self._taken += 1
        self._wanted.append(number)
        self._copying.add(number)
        return number

    def arrived(self, number: int, *, marked: bool) -> bool:
        """A copy is there.

        Args:
            number: what `take` gave.
            marked: whether the device may still read the source, until `done`.

        Returns:
            Whether it is wanted.
        """
        self._copying.remove(number)
        if marked:
            self._marked.add(number)
        else:
            self._freed.append(number)
        return number in self._wanted

    def done(self, number: int) -> None:
        """The device has done with the source of a marked batch."""
        self._marked.remove(number)
        self._freed.append(number)

    def freed(self) -> list[int]:
        """Batches whose sources became free since the last call."""
        freed, self._freed = self._freed, []
        return freed

    def next(self) -> int | None:
        """The batch to hand over now, which is then not in flight; None if its copy is not here."""
        if not self._wanted or self._wanted[0] in self._copying:
            return None
        return self._wanted.popleft()

    def drop(self) -> list[int]:
        """Nobody wants what is not handed over. Its sources are freed as ever.

        Returns:
            Those of them whose copy is here.
        """
        here = [number for number in self._wanted if number not in self._copying]
        self._wanted.clear()
        return here

    def check(self) -> None:
        """Raise AssertionError where an invariant does not hold; for tests."""
        assert len(self._wanted) <= self._most
        assert list(self._wanted) == sorted(set(self._wanted)), "out of order, or twice"
        assert not self._copying & self._marked, "marked before it was copied"
        assert not (self._copying | self._marked) & set(self._freed), "freed while it is read"
        assert len(self._freed) == len(set(self._freed)), "freed twice"
