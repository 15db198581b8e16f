"""One pass over a loader's sampler: how it began, how far it has come, how to take it up again.

    begin ─► iter(sampler) ─► reads ─► index, index, ...        noted: where generators stood
    resumed: put back ─► iter(sampler) ─► read and drop what was delivered ─► as the trainer stood

Nothing of this touches a sample, and a pass that is taken up leaves the global generators of the
trainer as it found them.
"""

import copy
import random
import struct
import sys
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch

from wellfed._engine import owned
from wellfed._engine.generators import go_on_from
from wellfed._engine.positions import samples_in
from wellfed._engine.randomness import restore, states
from wellfed._engine.reading import ahead
from wellfed._engine.resume import Passed, Surroundings
from wellfed._engine.stateful import is_stateful
from wellfed._engine.stream_states import StreamState, packed, unpacked
from wellfed.records import Plan

__all__ = ["Passage", "Resumption"]


class Resumption:
    """Where to take a loader up."""

    def __init__(self, passed: Passed, generators: list[Any], *, again: bool) -> None:
        """What was saved.

        Args:
            passed: how far the epoch had come.
            generators: where those of the loader and its sampler stood.
            again: whether to begin it anew, and drop what was delivered.
        """
        self.passed, self.generators, self.again = passed, generators, again


class Passage:
    """The passes of one iterator, one after the other."""

    def __init__(self, loader: Any, plan: Plan, resumption: Resumption | None = None) -> None:
        """Nothing has begun.

        Args:
            loader: whose sampler is read.
            plan: says how far ahead.
            resumption: where to take up the first pass.
        """
        self._generators = owned.generators_of(loader)
        self._has_own = loader.generator is not None
        self._told = _told_epochs(loader)
        self._sampler = _stateful_sampler(loader)
        self._lazily = not loader.num_workers
        self._ahead = int(loader.num_workers) * ahead(plan)
        self._resumption = resumption
        self._trainers: tuple[Any, ...] = states() if resumption is not None else ()
        self._begun: Surroundings | None = None
        self._first: Surroundings | None = None
        self._marks: deque[tuple[int, int, Any]] = deque(maxlen=self._ahead + 2)

    def begin(self) -> None:
        """The sampler is about to be asked to begin."""
        self._first = None
        if self._resumption is not None and self._resumption.passed.ended:
            # What torch draws for a new iterator was drawn for the one that goes on.
            restore(self._trainers)
            self._put_now(self._resumption)
        if self._resumption is None or self._resumption.passed.ended:
            self._begun = self._surroundings()
            return
        passed = self._resumption.passed
        self._begun = passed.begun
        self._put_back(passed.begun)
        if self._sampler is not None and passed.sampler is not None:
            self._sampler.load_state_dict(copy.deepcopy(passed.sampler))

    def reads(self, indices: Iterator[Any], *, marked: bool) -> Iterator[Any]:
        """The same indices; of a pass that is taken up, those that were not delivered.

        Args:
            indices: what the sampler yields.
            marked: whether positions matter.
        """
        marked = marked or self._sampler is not None
        resumption, self._resumption = self._resumption, None
        if resumption is None or resumption.passed.ended:
            self._marks.clear()
            self._mark(0, 0)
            note = self._note_first if self._lazily else None
            return _Reads(indices, note, self._mark if marked else None)
        return self._taken_up(indices, resumption, marked)

    def _taken_up(
        self, indices: Iterator[Any], resumption: Resumption, marked: bool
    ) -> Iterator[Any]:
        passed = resumption.passed
        self._first = passed.first
        if passed.first is not None:
            self._put_back(passed.first)
        if resumption.again:
            # It is dropped once it is made; the generators go on as they did then.
            self._mark(0, 0)
            return _Reads(indices, None, self._mark if marked else None)
        left: deque[Any] = deque()
        if self._sampler is None or passed.sampler is None:
            deque(islice(indices, passed.delivered), maxlen=0)
            left.extend(islice(indices, passed.was_read - passed.delivered))
            self._put_now(resumption)
        elif self._has_own:
            # A sampler that tells its state tells that of its generators.
            owned.put_back(self._generators[0], resumption.generators[0])
        self._mark(passed.delivered, passed.position)
        reads = _Reads(indices, None, self._mark if marked else None, left)
        reads.count, reads.position = passed.delivered, passed.position
        return reads

    def read_further(self, more: int) -> None:
        """The sampler is read at most so many indices further ahead than was said."""
        least = self._ahead + more + 2
        if (self._marks.maxlen or 0) < least:
            self._marks = deque(self._marks, maxlen=least)

    def settle(self) -> None:
        """Taking up is over: the trainer's generators are as it left them."""
        if self._trainers:
            restore(self._trainers)
            self._trainers = ()

    def _put_now(self, resumption: Resumption) -> None:
        for generator, stood in zip(self._generators, resumption.generators, strict=True):
            owned.put_back(generator, stood)

    def _mark(self, count: int, position: int) -> None:
        said = self._sampler.state_dict() if self._sampler is not None else None
        self._marks.append((count, position, copy.deepcopy(said)))

    def _note_first(self) -> None:
        self._first = self._surroundings()

    # -- what is saved ------------------------------------------------------------------------

    @property
    def surroundings(self) -> tuple[Surroundings, Surroundings | None]:
        """When the sampler was asked to begin, and when it was first read."""
        assert self._begun is not None, "no pass has begun"
        return self._begun, self._first

    def standing(self) -> list[Any]:
        """Where the generators of the loader and its sampler stand."""
        return [owned.standing(one) for one in self._generators]

    def was_read(self, delivered: int) -> int:
        """Indices that were read, unless the sampler has ended."""
        begun = delivered or not self._lazily
        return delivered + self._ahead if begun else 0

    def place(self, delivered: int) -> tuple[int, Any]:
        """The position after so many batches, and the state of the sampler."""
        for count, position, said in self._marks:
            if count == delivered:
                return position, said
        return 0, None

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            streams=packed(_copied()),
            generators=self.standing(),
            set_epoch=None if self._told is None else int(self._told.epoch),
        )

    def _put_back(self, once: Surroundings) -> None:
        go_on_from(unpacked(once.streams))
        for generator, stood in zip(self._generators, once.generators, strict=True):
            owned.put_back(generator, stood)
        if self._told is not None and once.set_epoch is not None:
            self._told.set_epoch(once.set_epoch)


class _Reads:
    """Indices, as they are read."""

    def __init__(
        self,
        indices: Iterator[Any],
        first: Callable[[], None] | None,
        mark: Callable[[int, int], None] | None,
        left: deque[Any] | None = None,
    ) -> None:
        self._indices = indices
        self._first = first
        self._mark = mark
        self._left = left
        """Read before, and not delivered."""
        self.count = self.position = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._first is not None:
            first, self._first = self._first, None
            first()
        index = self._left.popleft() if self._left else next(self._indices)
        if self._mark is not None:
            self.count += 1
            self.position += samples_in(index)
            self._mark(self.count, self.position)
        return index


def _told_epochs(loader: Any) -> Any:
    """What `set_epoch` is called on: the sampler, or the batch sampler."""
    for one in (loader.sampler, loader.batch_sampler):
        if callable(getattr(one, "set_epoch", None)) and isinstance(
            getattr(one, "epoch", None), int
        ):
            return one
    return None


def _stateful_sampler(loader: Any) -> Any:
    for one in (loader.batch_sampler, loader.sampler):
        if is_stateful(one):
            return one
    return None


def _copied() -> StreamState:
    """Where the generators of this process stand, for 40 µs."""
    version, words, python_half = random.getstate()
    *words, index = words
    assert version == 3, f"Python's generator has a state of version {version}, not 3"
    numpy_words, numpy_half = b"", None
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        state = numpy_random.get_state(legacy=False)
        if state["bit_generator"] == "MT19937":
            inner = state["state"]
            numpy_words = inner["key"].tobytes() + struct.pack("<i", inner["pos"])
            numpy_half = state["gauss"] if state["has_gauss"] else None
    return StreamState(
        python=struct.pack("<625I", index, *words),
        python_half=python_half,
        numpy=numpy_words,
        numpy_half=numpy_half,
        torch=torch.default_generator.get_state().numpy().tobytes(),
    )
