"""The random streams of the logical workers that live in one worker process."""

import random
from collections.abc import Iterable
from typing import Any

import torch
from torch.utils.data._utils.worker import _generate_state

from wellfed._engine.generators import Reader, go_on_from
from wellfed._engine.randomness import restore, states
from wellfed._engine.stream_states import StreamState, packed, unpacked

__all__ = ["Streams"]


class Streams:
    """The random streams of the logical workers that live in this process, one at a time.

    Logical worker w draws what torch's worker w would draw: from generators seeded with
    `base_seed + w`, in the order of its own batches.
    """

    def __init__(self, base_seed: int, workers: Iterable[int]) -> None:
        """Seed them all; the generators are left to the first."""
        self._base_seed = base_seed
        self._kept: dict[int, tuple[Any, ...]] = {}
        self._said: dict[int, StreamState] = {}
        self._reader: Reader | None = None
        self.current = -1
        """Whose turn it is."""
        several = list(workers)
        for worker in reversed(several):
            _seed(base_seed, worker)
            if len(several) > 1:
                self._kept[worker] = states()
        self.current = several[0]

    def enter(self, worker: int) -> None:
        """From here on `worker` draws; one that has not lived here yet has drawn nothing."""
        if worker == self.current:
            return
        self._kept[self.current] = states()
        if worker in self._kept:
            restore(self._kept[worker])
        else:
            _seed(self._base_seed, worker)
        self.current = worker

    def moved(self) -> bytes:
        """Where the current worker's streams stand, packed; empty if that was said before."""
        if self._reader is None:
            self._reader = Reader()
        state = self._reader.read()
        if state == self._said.get(self.current):
            return b""
        self._said[self.current] = state
        return packed(state)

    def go_on(self, worker: int, states: bytes) -> None:
        """From here on `worker` draws, from where its streams stood when that was said."""
        self.enter(worker)
        self._said[worker] = unpacked(states)
        go_on_from(self._said[worker])


def _seed(base_seed: int, worker: int) -> None:
    random.seed(base_seed + worker)
    torch.manual_seed(base_seed + worker)
    try:
        import numpy as np
    except ImportError:
        return
    np.random.seed(_generate_state(base_seed, worker))  # type: ignore[no-untyped-call]
