"""What the last batches of a loader took, summed up while it goes on."""

from collections.abc import Iterable
from itertools import islice, pairwise
from math import sqrt
from typing import Any, NamedTuple

from wellfed._engine.watch.entries import Entry
from wellfed._engine.watch.letters import in_whole
from wellfed._engine.watch.note import NOTE_FIELDS, Note

__all__ = ["Lately", "lately"]

# More batches tell no more of a second.
MOST_BATCHES = 512
# Notes that are opened, which takes 10 µs each; a plain tuple of numbers costs nothing.
MOST_OPENED = 32

_ASKED, _GOT, _TOLD = (Entry._fields.index(name) for name in ("asked_ns", "got_ns", "told"))
_FETCH, _CPU, _PACK, _SAMPLES = (
    NOTE_FIELDS.index(name) for name in ("fetch_ns", "cpu_ns", "serialise_ns", "sample_sum_ns")
)


class Lately(NamedTuple):
    """The last batches, from the first of them that was handed over to the last."""

    batches: int
    seconds: float
    wait_s: float
    gap_s: float
    gap_deviation_s: float
    fetch_s: float | None
    """What a batch takes a worker; of one with threads, what it keeps all of them busy for."""
    cpu_s: float | None
    making_s: float | None
    """Worker time of a batch in all: fetching, collating, handing over."""


def lately(
    newest_first: Iterable[tuple[Any, ...]], since_ns: int, threads: int = 0
) -> Lately | None:
    """Sum up what a recorder kept of the batches since then; None if there are not two.

    Args:
        newest_first: what it kept, the last batch first.
        since_ns: the window begins with the last batch that was handed over by then.
        threads: of each worker.
    """
    kept = []
    for entry in islice(newest_first, MOST_BATCHES + 1):
        kept.append(entry)
        if entry[_GOT] <= since_ns:
            break
    if len(kept) < 2:
        return None
    kept.reverse()
    batches = len(kept) - 1
    gaps = [(one[_ASKED] - last[_GOT]) / 1e9 for last, one in pairwise(kept)]
    gap_s = sum(gaps) / batches
    return Lately(
        batches,
        (kept[-1][_GOT] - kept[0][_GOT]) / 1e9,
        sum(one[_GOT] - one[_ASKED] for one in kept[1:]) / 1e9,
        gap_s,
        sqrt(sum((gap - gap_s) ** 2 for gap in gaps) / batches),
        *_making(kept[1:], threads),
    )


def _making(
    kept: list[tuple[Any, ...]], threads: int
) -> tuple[float | None, float | None, float | None]:
    """Means of what making a batch took its worker: wall, on the CPU, with handing over."""
    told = [one[_TOLD] for one in kept[-MOST_OPENED:] if one[_TOLD]]
    notes = [in_whole(one) for one in told]
    fetched = [
        (_work_ns(one, threads), one[_CPU], max(0, one[_PACK])) for one in notes if one[_FETCH] >= 0
    ]
    if not fetched:
        return None, None, None
    walls, cpus, packs = zip(*fetched, strict=True)
    count = len(fetched) * 1e9
    return sum(walls) / count, sum(cpus) / count, sum(walls + packs) / count


def _work_ns(note: Note, threads: int) -> float:
    # Threads have the samples of several batches under way at once.
    side_by_side = threads and note[_SAMPLES] > 0
    return float(note[_SAMPLES] / threads if side_by_side else note[_FETCH])
