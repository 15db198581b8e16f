"""What the sampler reads, and how counters that only grow become rates.

A reader is stateless: it gives levels and running totals as the kernel shows them. `Differences`
holds the only memory, the totals of the last time.

Part of the sampler's process: imports the standard library only.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

__all__ = ["Differences", "Level", "Peak", "Rate", "Ratio", "Reader", "Reading"]


class Level(NamedTuple):
    """A quantity that is what it is now."""

    name: str
    value: float


class Rate(NamedTuple):
    """A total whose growth per second is wanted. Totals in seconds give shares or cores."""

    name: str
    total: float


class Ratio(NamedTuple):
    """Two totals: what share of the growth of `whole` was growth of `part`."""

    name: str
    part: float
    whole: float


class Peak(NamedTuple):
    """Totals of like things, of which the fastest growing counts, per second."""

    name: str
    totals: tuple[float, ...]


Reading = Level | Rate | Ratio | Peak


class Reader(NamedTuple):
    """One way of reading some series."""

    names: tuple[str, ...]
    """Series it always gives. Those that depend on the machine, one a core or disk, are extra."""

    how: str
    """Where it reads."""

    read: Callable[[], Iterable[Reading]]
    """Raises `Unreadable` if it cannot; a reason beginning with "none:" says there is nothing."""

    every_s: float = 0.0
    """Shortest time between two reads; 0 means at each tick."""

    most_cpu_share: float = 0.003
    """Share of one core that reading it may take: what is dear is read more rarely. With about a
    dozen readers, of which most cost microseconds, the whole stays below 1 %."""


class Differences:
    """Turns readings into samples. Counters give none the first time, nor when they go back."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, Reading]] = {}

    def samples(self, at_ns: int, readings: Iterable[Reading]) -> dict[str, float]:
        """The values at `at_ns`, by series."""
        samples: dict[str, float] = {}
        for now in readings:
            if isinstance(now, Level):
                samples[now.name] = now.value
                continue
            before_ns, before = self._last.get(now.name, (at_ns, now))
            self._last[now.name] = (at_ns, now)
            if at_ns > before_ns:
                value = _growth(before, now, (at_ns - before_ns) / 1e9)
                if value is not None and value >= 0:
                    samples[now.name] = value
        return samples


def _growth(before: Reading, now: Reading, elapsed_s: float) -> float | None:
    match before, now:
        case Rate(total=old), Rate(total=new):
            return (new - old) / elapsed_s
        case Ratio(), Ratio():
            whole = now.whole - before.whole
            return (now.part - before.part) / whole if whole else 0.0
        case Peak(totals=olds), Peak(totals=news) if olds and len(olds) == len(news):
            return max(new - old for old, new in zip(olds, news, strict=True)) / elapsed_s
    return None  # a disk came or went, and totals cannot be paired
