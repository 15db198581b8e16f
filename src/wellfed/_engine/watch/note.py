"""The note that rides with a batch: its maker's half of a Span, as a plain list of numbers."""

import math
from typing import Any

import numpy as np

from wellfed.records.trace import BUCKETS_PER_OCTAVE, Span

__all__ = ["NOTE_FIELDS", "NO_NOTE", "UNSEEN", "Note", "buckets"]

Note = list[Any]
"""The maker's half of a Span, in the order of NOTE_FIELDS."""

_ALL = Span.__struct_fields__
NOTE_FIELDS = _ALL[_ALL.index("worker") : _ALL.index("paused_ns")]

# Places in a Note that are filled in after it is written, by the maker and the worker's outbox.
PID = NOTE_FIELDS.index("pid")
COLLATE = NOTE_FIELDS.index("collate_ns")
COLLATE_CPU = NOTE_FIELDS.index("collate_cpu_ns")
SERIALISE = NOTE_FIELDS.index("serialise_ns")
SERIALISE_CPU = NOTE_FIELDS.index("serialise_cpu_ns")
QUEUED = NOTE_FIELDS.index("queued_ns")
SENT = NOTE_FIELDS.index("sent_ns")
TENSORS = NOTE_FIELDS.index("tensors")
PAYLOAD = NOTE_FIELDS.index("payload_bytes")
OBJECTS = NOTE_FIELDS.index("objects")
SAMPLE_SUM = NOTE_FIELDS.index("sample_sum_ns")
SAMPLE_MAX = NOTE_FIELDS.index("sample_max_ns")
SAMPLE_BUCKETS = NOTE_FIELDS.index("sample_buckets")
DREW = NOTE_FIELDS.index("drew")
THREADS = NOTE_FIELDS.index("threads")
WATCH = NOTE_FIELDS.index("watch_ns")
ALLOWED = NOTE_FIELDS.index("allowed_cpus")
CORE = NOTE_FIELDS.index("cpu_core")

NO_NOTE: Note = [getattr(Span(0, 0, 0, 0), name) for name in NOTE_FIELDS]
"""Stands for the note of a batch whose maker was not heard."""

UNSEEN: Note = [-1 if isinstance(value, int) else value for value in NO_NOTE]
"""A note of which nothing is known yet, to be filled in."""
UNSEEN[PID] = 0
UNSEEN[SAMPLE_SUM] = UNSEEN[SAMPLE_MAX] = 0
UNSEEN[NOTE_FIELDS.index("queued_ns")] = UNSEEN[WATCH] = 0

# From here on counting with NumPy is faster, also when its code is not in the cache.
MANY_SAMPLES = 256


def buckets(took_ns: list[int]) -> dict[int, int]:
    """Counts by logarithmic bucket: 0.1 µs a sample."""
    if len(took_ns) >= MANY_SAMPLES:
        logs = np.log2(np.maximum(took_ns, 1))
        counted = np.bincount((logs * BUCKETS_PER_OCTAVE + 0.5).astype(np.intp))
        marks = counted.nonzero()[0]
        return dict(zip(marks.tolist(), counted[marks].tolist(), strict=True))
    counts: dict[int, int] = {}
    log2 = math.log2
    for ns in took_ns:
        bucket = int(log2(ns or 1) * BUCKETS_PER_OCTAVE + 0.5)
        counts[bucket] = counts.get(bucket, 0) + 1
    return counts
