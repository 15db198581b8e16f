"""Storage is read although it need not be: once more, too much at once, or only this once."""

from wellfed._insight.estimate import scale
from wellfed._insight.rules.say import waiting
from wellfed._insight.rules.storage import READING_BYTES_PER_S, pressure, read_bytes_per_s
from wellfed._insight.supply import (
    SIGNIFICANT,
    blocked_share,
    cache_room_bytes,
    computes,
    epoch_read_bytes,
    lost_share,
    waits,
)
from wellfed.records import Case, Estimate, Evidence, Finding, Remedy
from wellfed.records.amounts import duration, share, size

__all__ = ["cache_too_small", "cold_cache_transient", "read_amplification"]

# Read-ahead and headers make a healthy loader read up to twice what it uses.
AMPLIFIED = 3.0

# The page cache evicts before memory is full to the last byte.
FILLS = 0.8

# A dataset that memory holds is read a second time from memory, but for some per cent.
READ_AGAIN = 0.3

# Epochs after the first have to show so many batches.
FEWEST_BATCHES = 8


def read_amplification(case: Case) -> Finding | None:
    """WF303: storage gives several times what the samples use: read-ahead of mapped files."""
    stats = case.stats
    read = stats.read_bytes_per_batch or 0.0
    used = max(stats.read_chars_per_batch or 0.0, stats.payload_bytes or 0.0)
    if not waits(case) or computes(case) or stats.payload_bytes is None:
        return None
    if read < AMPLIFIED * max(1.0, used) or read_bytes_per_s(case) < READING_BYTES_PER_S:
        return None
    times = read / max(1.0, used)
    saved = (1 - 1 / times) * blocked_share(case)
    ahead = [one.read_ahead_kb for one in case.workload.sources if one.read_ahead_kb]
    return Finding(
        code="WF303",
        name="read_amplification",
        sentence=(
            f"Storage gives {size(read)} a batch, and the batch holds {size(used)}: "
            f"{times:.0f} times what is used."
        ),
        evidence=(
            waiting(case),
            Evidence(text=f"{read_bytes_per_s(case) / 1e6:.0f} MB/s from storage", value=read),
            Evidence(
                text=f"{stats.major_faults_per_batch:.0f} page faults from disk a batch",
                value=stats.major_faults_per_batch,
            ),
            *(Evidence(text=f"read-ahead {kb} KiB", value=float(kb)) for kb in ahead[:1]),
        ),
        cost_share=scale(lost_share(case), saved),
        remedies=(
            Remedy(
                change="mapped.madvise(mmap.MADV_RANDOM)  # lmdb.open(..., readahead=False)",
                why="rows that lie apart need their own pages, not their neighbours'",
                gain=_at_most(case, saved),
            ),
            Remedy(
                change="store samples that are read together next to each other",
                why="what is read ahead is then used",
                reproducibility="shuffling in blocks changes the order",
            ),
        ),
    )


def cold_cache_transient(case: Case) -> Finding | None:
    """WF304: the first batches came from storage, later ones from memory: it passes."""
    stats, spans = case.stats, case.trace.spans
    cold, seen_ns = stats.cold_batches, spans[-1].got_ns - spans[0].asked_ns if spans else 0
    if not cold or seen_ns <= 0:
        return None
    usual_s = stats.period_s.value * stats.wait_share.value
    cold_s = sum(span.wait_ns for span in spans[:cold]) * 1e-9
    cost = max(0.0, cold_s - cold * usual_s) / (seen_ns * 1e-9)
    if cost < SIGNIFICANT:
        return None
    read = sum(max(0, span.read_bytes) for span in spans[:cold])
    return Finding(
        code="WF304",
        name="cold_cache_transient",
        sentence=(
            f"The first {cold} batches were read from storage ({size(read)}) and waited "
            f"{duration(cold_s / cold)} each; since then the page cache has them, and a batch "
            f"waits {duration(usual_s)}."
        ),
        evidence=(
            Evidence(text=f"{share(cost)} of the time watched", value=cost),
            Evidence(text=f"{size(read)} read cold", value=float(read)),
            Evidence(text=f"{stats.batches} warm batches after them", value=float(stats.batches)),
        ),
        # It is one sum, not a mean over batches: no spread of its own but the usual wait's.
        cost_share=Estimate(value=cost, low=0.9 * cost, high=min(1.0, 1.1 * cost)),
        remedies=(
            Remedy(
                change="nothing for a training of many epochs: only this first pass is slow",
                why="and tune no setting by it",
            ),
            Remedy(
                change="cat FILES > /dev/null  # before the first epoch, while something else runs",
                why="files read in sequence come in several times faster than at random",
            ),
        ),
    )


def cache_too_small(case: Case) -> Finding | None:
    """WF305: every epoch reads the dataset from storage again, because memory cannot hold it."""
    epoch_bytes, room = epoch_read_bytes(case), cache_room_bytes(case)
    if not waits(case) or computes(case) or epoch_bytes is None or room is None:
        return None
    if epoch_bytes < FILLS * room or read_bytes_per_s(case) < READING_BYTES_PER_S:
        return None
    again = _read_again_share(case)
    if again is None or again < READ_AGAIN:
        return None
    limit = case.machine.memory_limit_bytes.value
    whose = "the memory limit leaves" if limit is not None and limit <= room else "memory leaves"
    return Finding(
        code="WF305",
        name="cache_too_small",
        sentence=(
            f"An epoch reads {size(epoch_bytes)} and {whose} {size(room)} for the page cache: "
            f"{share(again)} of later epochs came from storage again."
        ),
        evidence=(
            waiting(case),
            Evidence(text=f"{share(again)} read from storage after the first epoch", value=again),
            Evidence(
                text=f"{read_bytes_per_s(case) / 1e6:.0f} MB/s from storage",
                value=read_bytes_per_s(case),
            ),
            *pressure(case),
        ),
        cost_share=scale(lost_share(case), min(1.0, again)),
        remedies=(
            Remedy(
                change=f"store the samples in less than {size(FILLS * room)}: resized, as uint8",
                why="what fits is read from storage once",
                gain=_at_most(case, again * blocked_share(case)),
            ),
            Remedy(
                change=f"raise the memory limit above {size(epoch_bytes / FILLS)}"
                if limit is not None
                else "pack shards that are read in sequence, and shuffle within a buffer",
                why="page cache counts in a container's limit"
                if limit is not None
                else "in sequence a disk gives several times more",
                reproducibility="" if limit is not None else "changes the order of the samples",
            ),
        ),
    )


def _read_again_share(case: Case) -> float | None:
    """Share of the bytes of later epochs that storage gave; None if too little of them was seen."""
    later = [
        span
        for span in case.trace.spans
        if span.epoch > 0 and span.read_bytes >= 0 and span.read_chars > 0
    ]
    if len(later) < FEWEST_BATCHES:
        return None
    return sum(span.read_bytes for span in later) / sum(span.read_chars for span in later)


def _at_most(case: Case, part: float) -> Estimate:
    """The gain if that part of the loss went away; at worst nothing, as what remains may grow."""
    lost = lost_share(case)
    value, high = (1 / (1 - min(0.99, part * one)) for one in (lost.value, lost.high))
    return Estimate(value=value, low=1.0, high=high)
