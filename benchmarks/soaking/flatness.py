"""Whether a quantity stays as it is over a run: its slope, with an interval."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Slope", "slope"]

# The first looks see caches that fill, and workers that grow into their work.
SETTLED = 0.3
DRAWS = 500
BLOCKS = 10


class Slope(NamedTuple):
    """Change per 1,000 batches, and its 90 % interval."""

    value: float
    low: float
    high: float
    last: float
    """Mean of the last tenth: what it amounts to in the end."""


def slope(batches: list[int], values: list[float]) -> Slope:
    """Of a series, by least squares after it has settled.

    Looks near each other are alike, so blocks of them are drawn again, not single ones.
    """
    begin = int(SETTLED * len(batches))
    at = np.array(batches[begin:], dtype=float) / 1000
    seen = np.array(values[begin:], dtype=float)
    line = float(np.polyfit(at, seen, 1)[0])
    random = np.random.default_rng(0)
    blocks = np.array_split(np.arange(len(at)), min(BLOCKS, len(at)))
    drawn = [_drawn(at, seen, blocks, random) for _ in range(DRAWS)]
    low, high = np.quantile(drawn, [0.05, 0.95])
    return Slope(line, float(low), float(high), float(seen[-max(1, len(seen) // 10) :].mean()))


def _drawn(
    at: NDArray[np.float64],
    seen: NDArray[np.float64],
    blocks: list[NDArray[np.intp]],
    random: np.random.Generator,
) -> float:
    some = np.concatenate([blocks[n] for n in random.integers(0, len(blocks), len(blocks))])
    return float(np.polyfit(at[some], seen[some], 1)[0]) if np.ptp(at[some]) else 0.0
