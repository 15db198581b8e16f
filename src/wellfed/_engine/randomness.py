"""The global random generators: where they stand, whether a batch drew from them, whose they are.

The global ones are Python's, NumPy's legacy one and torch's CPU one. Nothing here draws from them.
"""

import ctypes
import pickle
import random
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.utils.data._utils.worker import _generate_state

__all__ = ["Draws", "Streams", "drew", "restore", "states"]


def states() -> tuple[Any, ...]:
    """Where python's, NumPy's and torch's generators stand."""
    numpy_random = numpy_random_or_none()
    return (
        random.getstate(),
        # Pickled, because the state of a bit generator is a nest of arrays and numbers.
        pickle.dumps(numpy_random.get_state(legacy=False)) if numpy_random is not None else b"",
        torch.default_generator.get_state(),
    )


def numpy_random_or_none() -> Any:
    """NumPy's random module. Loaded if it was not: the next sample might load it, and draw."""
    try:
        import numpy.random
    except ImportError:
        return None
    return numpy.random


def drew(before: tuple[Any, ...], after: tuple[Any, ...]) -> int:
    """Bits: 1 python's generator moved, 2 NumPy's, 4 torch's."""
    moved = (before[0] != after[0], before[1] != after[1], not torch.equal(before[2], after[2]))
    return sum(bit for bit, one in zip((1, 2, 4), moved, strict=True) if one)


def restore(kept: tuple[Any, ...]) -> None:
    """Put the generators back to what `states` returned."""
    random.setstate(kept[0])
    if kept[1]:
        sys.modules["numpy.random"].set_state(pickle.loads(kept[1]))
    torch.default_generator.set_state(kept[2])


class Draws:
    """Notices that somebody drew, for 2 µs a look, and can take it back.

    A full copy of the three states costs 40 µs, so it is made once and kept while nobody draws: a
    look compares the generators' raw memory. Of what lies outside that memory there is only the
    second half of a pair of normal numbers. A pair begins with a draw that is seen; where one had
    begun before, all of the states is compared.
    """

    def __init__(self) -> None:
        self._looks = [_python_memory(), _numpy_memory(), _torch_memory]
        self._seen: list[bytes] = []
        self._kept: tuple[Any, ...] = ()
        self._half = False
        """Whether the second half of a pair was there at `begin`."""

    def begin(self) -> None:
        """From here on draws count."""
        seen = [look() for look in self._looks]
        if seen != self._seen or self._half:
            self._seen, self._kept = seen, states()
            self._half = _half_a_pair(self._kept)

    def any(self) -> bool:
        """Whether anybody drew since `begin`."""
        if [look() for look in self._looks] != self._seen:
            return True
        return self._half and bool(drew(self._kept, states()))

    def take_back(self) -> None:
        """Put the generators back to where they stood at `begin`."""
        restore(self._kept)


def _half_a_pair(kept: tuple[Any, ...]) -> bool:
    """Whether a generator holds the second half of a pair of normal numbers."""
    return kept[0][2] is not None or bool(kept[1] and pickle.loads(kept[1])["has_gauss"])


def _python_memory() -> Callable[[], bytes]:
    # CPython keeps an index and 624 words right behind the object's header. Believed only where it
    # agrees with what Python itself says of the state.
    instance: Any = random.seed.__self__  # type: ignore[attr-defined]
    address, size = id(instance) + object.__basicsize__, 4 * 625
    if sys.implementation.name == "cpython":
        *words, index = random.getstate()[1]
        if ctypes.string_at(address, size) == struct.pack("<625I", index, *words):
            return lambda: ctypes.string_at(address, size)
    return lambda: pickle.dumps(random.getstate())


def _numpy_memory() -> Callable[[], bytes]:
    numpy_random = numpy_random_or_none()
    if numpy_random is None:
        return lambda: b""
    generator: Any = getattr(numpy_random, "get_bit_generator", lambda: None)()
    if type(generator) is numpy_random.MT19937:
        address, size = generator.ctypes.state_address, 4 * 625
        state = generator.state["state"]
        if ctypes.string_at(address, size) == state["key"].tobytes() + struct.pack(
            "<i", state["pos"]
        ):
            return lambda: ctypes.string_at(address, size)
    return lambda: pickle.dumps(numpy_random.get_state(legacy=False))


def _torch_memory() -> bytes:
    return torch.default_generator.get_state().numpy().tobytes()


class Streams:
    """The random streams of the logical workers that live in this process, one at a time.

    Logical worker w draws what torch's worker w would draw: from generators seeded with
    `base_seed + w`, in the order of its own batches.
    """

    def __init__(self, base_seed: int, workers: Iterable[int]) -> None:
        """Seed them all; the generators are left to the first."""
        self._base_seed = base_seed
        self._kept: dict[int, tuple[Any, ...]] = {}
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


def _seed(base_seed: int, worker: int) -> None:
    random.seed(base_seed + worker)
    torch.manual_seed(base_seed + worker)
    try:
        import numpy as np
    except ImportError:
        return
    np.random.seed(_generate_state(base_seed, worker))  # type: ignore[no-untyped-call]
