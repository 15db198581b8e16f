"""What a worker of the engine tells of a batch: a letter that rides with it, or a few numbers.

Most batches of a loader that nobody observes come with `Brief`, the numbers that the engine's own
records hold. A letter is a Note as bytes, with the files opened and the worker's beginning.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from wellfed._engine.watch.note import (
    COLLATE,
    COLLATE_CPU,
    NO_NOTE,
    NOTE_FIELDS,
    SAMPLE_BUCKETS,
    SAMPLE_MAX,
    SAMPLE_SUM,
    UNSEEN,
    Note,
    buckets,
)

__all__ = [
    "Brief",
    "Delivery",
    "Letter",
    "in_whole",
    "opened",
    "side_by_side",
    "together",
    "written",
]


class Letter(NamedTuple):
    """A note with what goes along with it."""

    note: Note
    paths: list[str]
    """Files newly seen opened."""
    begun_ns: int
    """When the worker's loop began."""


class Brief(NamedTuple):
    """What is known of each batch without any watching."""

    worker: int
    taken_ns: int
    idle_ns: int
    fetch_ns: int
    cpu_ns: int
    serialise_ns: int
    samples: int

    def note(self) -> Note:
        """As a note of which all else is unseen."""
        note = list(UNSEEN)
        for place, value in zip(_BRIEF, self, strict=True):
            note[place] = value
        return note


class Delivery(NamedTuple):
    """How a batch came to the trainer, as the stream that delivered it tells."""

    told: tuple[Any, ...]
    """Of each part of the batch: a letter's bytes, or a Brief as a plain tuple."""
    arrived_ns: int = -1
    receive_ns: int = 0
    held: int = 0
    """Batches held back while it was waited for."""
    message_bytes: int = 0


def written(letter: Letter) -> bytes:
    """The letter as bytes."""
    return msgspec.msgpack.encode(letter)


def opened(told: Any) -> Letter:
    """A letter's bytes, or a Brief, or a Note, as a letter. Of a Brief all else stays unseen."""
    if isinstance(told, bytes):
        return Letter(*msgspec.msgpack.decode(told))
    if len(told) == len(NOTE_FIELDS):
        return Letter(list(told), [], -1)
    return Letter(Brief(*told).note(), [], -1)


def side_by_side(
    brief: Brief, collate_ns: int, collate_cpu_ns: int, took_ns: Sequence[int]
) -> Note:
    """The note of a batch whose samples several threads of a worker fetched.

    Args:
        brief: its `cpu_ns` is of all these threads, its `fetch_ns` from the first sample's
            beginning to the end of the collate: other batches were made meanwhile.
        collate_ns: how long collating took.
        collate_cpu_ns: CPU time of it.
        took_ns: how long each sample took.
    """
    note = brief.note()
    note[COLLATE], note[COLLATE_CPU] = collate_ns, collate_cpu_ns
    note[SAMPLE_SUM], note[SAMPLE_MAX] = sum(took_ns), max(took_ns)
    note[SAMPLE_BUCKETS] = buckets(list(took_ns))
    return note


def in_whole(told: tuple[Any, ...]) -> Note:
    """The note of a batch, of all its parts together; NO_NOTE where nothing was told."""
    notes = [opened(part).note for part in told]
    return together(notes) if notes else NO_NOTE


def together(notes: Sequence[Note]) -> Note:
    """One note for parts that several workers made side by side.

    Amounts add up, and of durations the longest counts. What one part does not know is not known
    of the whole. The worker is that of the first part.
    """
    first, *others = notes
    whole = list(first)
    for other in others:
        for place, (mine, its) in enumerate(zip(whole, other, strict=True)):
            whole[place] = _both(NOTE_FIELDS[place], mine, its)
    return whole


def _both(name: str, mine: Any, its: Any) -> Any:
    if name in ("worker", "pid"):
        return mine
    if name == "sample_buckets":
        return {bucket: mine.get(bucket, 0) + its.get(bucket, 0) for bucket in {**mine, **its}}
    if mine < 0 or its < 0:
        return -1
    if name == "taken_ns":
        return min(mine, its)
    if name == "drew":
        return mine | its
    return mine + its if name in _AMOUNTS else max(mine, its)


_BRIEF = [NOTE_FIELDS.index(name) for name in Brief._fields]
_AMOUNTS = frozenset(
    name
    for name in NOTE_FIELDS
    if "cpu_ns" in name
    or name.startswith("read_")
    or name.endswith("_faults")
    or name in ("yields", "preemptions", "samples", "tensors", "objects")
    or name in ("payload_bytes", "sample_sum_ns", "run_queue_ns", "watch_ns")
)
