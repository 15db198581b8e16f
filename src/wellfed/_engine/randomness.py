"""Whether a batch drew from the global random generators; looks, never draws."""

import pickle
import random
import sys
from typing import Any

import torch

__all__ = ["drew", "states"]


def states() -> tuple[Any, ...]:
    """Where python's, NumPy's and torch's generators stand."""
    numpy_random = sys.modules.get("numpy.random")
    return (
        random.getstate(),
        # Pickled, because the state of a bit generator is a nest of arrays and numbers.
        pickle.dumps(numpy_random.get_state(legacy=False)) if numpy_random is not None else b"",
        torch.default_generator.get_state(),
    )


def drew(before: tuple[Any, ...], after: tuple[Any, ...]) -> int:
    """Bits: 1 python's generator moved, 2 NumPy's, 4 torch's."""
    moved = (before[0] != after[0], before[1] != after[1], not torch.equal(before[2], after[2]))
    return sum(bit for bit, one in zip((1, 2, 4), moved, strict=True) if one)
