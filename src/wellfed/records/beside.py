"""What was seen beside the batches: gauges, lines of code, other loaders, other ranks."""

from wellfed.records._record import Record
from wellfed.records.sites import Site

__all__ = ["Gauge", "HotLine", "LoaderSeen", "RankSeen"]


class Gauge(Record, frozen=True, kw_only=True):
    """A quantity of the machine or the processes, sampled a few times a second."""

    name: str
    """E.g. "cpu_busy_cores", "disk_read_bytes_per_s"; the unit is in the name."""
    how: str
    """Where it was read, or why it could not be (then it has no values)."""
    at_ns: tuple[int, ...] = ()
    """Times of the samples, since the start of the trace; negative before its first event."""
    values: tuple[float, ...] = ()


class HotLine(Record, frozen=True, kw_only=True):
    """One line in which workers were seen while they made batches."""

    file: str
    line: int
    """The line, counted from 1."""
    function: str
    library: str = ""
    """Package in which it was from there: "PIL", "pandas"; "" for none."""
    samples: int
    """How often a worker was there when it was looked at, some fifty times a second."""
    locked: int = 0
    """How many of those times it waited for a lock."""


class LoaderSeen(Record, frozen=True, kw_only=True):
    """Another loader of the same process: enough to know that it is not the one that matters."""

    site: Site | None = None
    dataset: str
    workers: int
    batches: int
    wait_s: float
    """Seconds the trainer waited for it in all."""
    depth: int = 0
    """The most of its batches that can be in the making or waiting at once."""
    persistent: bool = False
    """Whether its workers, and the batches that they hold, stay when it is not iterated."""
    payload_bytes: int = 0
    """Bytes of tensors and arrays in one of its batches; 0 if none was looked into."""


class RankSeen(Record, frozen=True, kw_only=True):
    """One rank of a distributed run, as it saw itself: means over its steady batches."""

    rank: int
    batches: int
    """Steady batches that the means rest on."""
    period_s: float
    """Seconds from one batch to the next."""
    wait_s: float
    """Seconds of it inside `__next__`."""
    workers: int
    """Its loader's workers."""
    busy_cores: float
    """Cores that it and its workers kept busy."""
    queue_share: float = 0.0
    """Share of fetch time in which its workers were ready and had no core."""

    @property
    def step_s(self) -> float:
        """Seconds of its own step, with whatever it waits for other ranks in it."""
        return max(0.0, self.period_s - self.wait_s)
