"""Closer looks at a few batches: what tells their data, their draws and their dataset from others'.

Spans are about time. What makes a run wrong rather than slow (samples that come twice, workers that
draw the same numbers, epochs that repeat) shows in a handful of batches, so it is kept apart from
them, for the first batches of a maker and then ever more rarely.
"""

import msgspec

from wellfed.records._record import Record

__all__ = ["Look"]


class Look(Record, frozen=True, kw_only=True):
    """One batch looked at more closely, by whoever made it.

    Fingerprints are 32-bit checksums: equal ones mean equal data but for one chance in four
    thousand million, and nothing can be read back from them.
    """

    epoch: int = -1
    """Index into `Trace.epochs`."""
    number: int = -1
    """Which batch of its epoch, in the order delivered."""
    worker: int = -1
    """Worker id; -1 when the trainer's process made the batch."""
    pid: int = 0
    samples_before: int = 0
    """Samples that this maker had made before, since its process began."""
    prints: tuple[int, ...] = ()
    """Fingerprints of the batch's first samples, before they were collated."""
    generators: dict[str, int] = msgspec.field(default_factory=dict)
    """Fingerprints of where random generators stood before the batch: "python", "numpy" and "torch"
    for the global ones, "dataset.rng" for one that the dataset holds."""
    drawn: tuple[str, ...] = ()
    """Those of them that the batch drew from."""
    numbers: dict[str, int] = msgspec.field(default_factory=dict)
    """Whole numbers that the dataset holds, by attribute: "epoch"."""
    entries: dict[str, int] = msgspec.field(default_factory=dict)
    """Entries of what looks like a cache before the batch, by attribute: dictionaries, lists with
    gaps, functions under `lru_cache`."""
