"""Which batches show the steady state: after warm-up, after the cache is warm.

    epoch   |--- pipeline fills ---|------------- steady -------------|
    batch   0   1   2  ...  skip-1   skip  skip+1 ...             last
                                  |<period>|<period>|

A steady batch has a predecessor in its epoch. Its *period* runs from the moment its predecessor
was handed over to the moment it was: the predecessor's step, then its own wait. Time for which
wellfed itself held the loop up is in neither.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wellfed._insight.estimate import Floats
from wellfed.records import Span, Trace

__all__ = ["Steady", "find_steady", "step_ns"]

# Below eight periods the 90 % interval of a mean is wider than half its standard deviation even
# for independent values (t * s / sqrt(n) at n = 8 is 0.67 s): a gentler warm-up rule that keeps
# more batches then loses less than it wins.
MIN_STEADY = 8

# A stricter warm-up rule has to leave this share of the batches. Else only the ends of short
# epochs would be left, where the pipeline drains and nothing is steady.
MIN_STEADY_SHARE = 0.25

# A first reading is "clearly" dearer than a cached one when it reads four times as much. Caches
# that are too small lose a few ten per cent at most from one epoch to the next.
COLD_RATIO = 4.0

# Less than this per batch is metadata and the odd page, not samples read for the first time.
COLD_MIN_BYTES = 64 * 1024


class Steady(NamedTuple):
    """The steady batches of a trace, each with its predecessor."""

    before: tuple[Span, ...]
    """The predecessor of each steady batch, in its epoch."""
    spans: tuple[Span, ...]
    """The steady batches, in the order delivered."""
    warmup: int
    """Batches left out because the pipeline was filling."""
    cold: int
    """Leading batches of the trace that filled the page cache."""

    @property
    def period_s(self) -> Floats:
        """Seconds from the predecessor's handing over to the batch's own."""
        return self.step_s + self.wait_s

    @property
    def step_s(self) -> Floats:
        """Seconds of the user's step on the predecessor; validation and checkpoints are in it."""
        pairs = zip(self.before, self.spans, strict=True)
        return np.array([step_ns(before, span) * 1e-9 for before, span in pairs])

    @property
    def wait_s(self) -> Floats:
        """Seconds inside `__next__` for the batch."""
        return np.array([span.wait_ns * 1e-9 for span in self.spans])


def step_ns(before: Span, span: Span) -> int:
    """The user's time between two batches, without what wellfed itself took of it."""
    return max(0, span.asked_ns - before.got_ns - span.paused_ns)


def find_steady(trace: Trace) -> Steady:
    """The steady batches of a trace; none only if no epoch delivered two batches in a row.

    Warm-up rules, strictest first; the first one that leaves enough is used:

    1. `workers * prefetch + workers` batches after workers were started: what was asked for
       before the loop ran, and one a worker more. Where persistent workers were used again,
       `workers` batches: their first ones still start all at once.
    2. `workers` batches of each epoch. Epochs that are shorter than the pipeline is deep refill
       it each time, so refilling is their steady state.
    3. The first batch of each epoch.

    Cold batches are left out too, unless that would leave too little.

    Args:
        trace: what one run showed. Spans may have been dropped at its beginning.
    """
    pairs = [
        (before, span)
        for before, span in zip(trace.spans, trace.spans[1:], strict=False)
        if before.epoch == span.epoch and before.number + 1 == span.number
    ]
    cold = _cold_batches(trace.spans)
    cold_ids = {(span.epoch, span.number) for span in trace.spans[:cold]}
    warm = [pair for pair in pairs if (pair[1].epoch, pair[1].number) not in cold_ids]
    chosen = _after_warmup(trace, warm)
    if len(chosen) < MIN_STEADY:
        chosen = _after_warmup(trace, pairs)
    kept = {(span.epoch, span.number) for _, span in chosen}
    left_out = {(span.epoch, span.number) for span in trace.spans} - kept - cold_ids
    return Steady(
        before=tuple(before for before, _ in chosen),
        spans=tuple(span for _, span in chosen),
        warmup=len(left_out),
        cold=cold,
    )


def _after_warmup(trace: Trace, pairs: list[tuple[Span, Span]]) -> list[tuple[Span, Span]]:
    workers, depth = trace.plan.workers, trace.plan.depth
    fresh = {epoch.index for epoch in trace.epochs if epoch.started_workers}
    enough = max(MIN_STEADY, MIN_STEADY_SHARE * len(pairs))
    for skip_fresh, skip_reused in ((depth + workers, workers), (workers, workers)):
        chosen = [
            pair
            for pair in pairs
            if pair[1].number >= (skip_fresh if pair[1].epoch in fresh else skip_reused)
        ]
        if len(chosen) >= enough:
            return chosen
    return pairs


def _cold_batches(spans: Sequence[Span]) -> int:
    """How many leading batches read from storage what later ones found in the page cache.

    The change-point of `read_bytes` that leaves the least squared error on both sides, if the
    levels differ by `COLD_RATIO` and hardly overlap. Without that last condition lumps of
    read-ahead would look like a cold start.
    """
    places = [place for place, span in enumerate(spans) if span.read_bytes >= 0]
    read = np.array([spans[place].read_bytes for place in places], dtype=np.float64)
    if read.size < MIN_STEADY:
        return 0
    sizes = np.arange(1, read.size)
    sums = np.cumsum(read)
    # Least squared error is most explained: (sum of a side)**2 / its size, both sides together.
    explained = sums[:-1] ** 2 / sizes + (sums[-1] - sums[:-1]) ** 2 / (read.size - sizes)
    cut = int(np.argmax(explained)) + 1
    before, after = read[:cut], read[cut:]
    apart = before.mean() - after.mean() >= COLD_MIN_BYTES
    dearer = before.mean() >= COLD_RATIO * after.mean()
    distinct = np.median(before) > np.quantile(after, 0.9)
    return places[cut] if apart and dearer and distinct else 0
