"""Making batches is mostly waiting: for a store far away, or for a disk at its limit."""

from wellfed._insight.rules.say import cpu_evidence, more_workers, waiting
from wellfed._insight.supply import (
    computes,
    lost_share,
    makers_busy_share,
    waits,
)
from wellfed.records import Case, Evidence, Finding, Remedy
from wellfed.records.amounts import duration, share

__all__ = ["latency_bound", "storage_bound"]

# The makers are the limit when they fetch nearly all the time (see rules.cpu).
MAKERS_BUSY = 0.75

# Storage did the blocking if at least so many bytes a second came from it: a page-cache miss now
# and then reads less.
READING_BYTES_PER_S = 1e6


def latency_bound(case: Case) -> Finding | None:
    """WF301: makers sit blocked, and neither CPU nor a local disk is busy: round trips."""
    if not _blocked_is_the_limit(case) or _disk_blocks(case):
        return None
    stats = case.stats
    sample = f" {duration(stats.sample_s)} a sample," if stats.sample_s is not None else ""
    remote = [source for source in case.workload.sources if source.remote]
    where = f" ({', '.join(sorted({one.kind for one in remote}))})" if remote else ""
    return Finding(
        code="WF301",
        name="latency_bound",
        sentence=(
            f"Samples wait for something far away{where}:{sample} blocked "
            f"{share(stats.maker_off_share)} of the time, CPU {share(stats.maker_cpu_share)}."
        ),
        evidence=(
            waiting(case),
            Evidence(
                text=f"blocked {share(stats.maker_off_share)} of fetch time",
                value=stats.maker_off_share,
            ),
            cpu_evidence(case),
            Evidence(
                text=f"{_reading(case) / 1e6:.0f} MB/s from local disks", value=_reading(case)
            ),
        ),
        cost_share=lost_share(case),
        remedies=(
            *more_workers(case, "blocked workers need no core: many more than cores are right"),
            Remedy(
                change="def __getitems__(self, indices): fetch them concurrently, e.g. by threads",
                why="one worker can wait for a whole batch at once",
            ),
        ),
    )


def storage_bound(case: Case) -> Finding | None:
    """WF302: makers sit blocked on a local device that is at its limit."""
    if not _blocked_is_the_limit(case) or not _disk_blocks(case):
        return None
    stats = case.stats
    read = _reading(case)
    devices = sorted({one.device for one in case.workload.sources if one.device})
    device = f" {', '.join(devices)}" if devices else ""
    return Finding(
        code="WF302",
        name="storage_bound",
        sentence=(
            f"Reading {read / 1e6:.0f} MB/s from the disk{device} is all it gives: workers are "
            f"blocked {share(stats.maker_off_share)} of the time, and more of them would queue."
        ),
        evidence=(
            waiting(case),
            Evidence(text=f"{read / 1e6:.0f} MB/s from storage", value=read),
            Evidence(
                text=f"blocked {share(stats.maker_off_share)} of fetch time",
                value=stats.maker_off_share,
            ),
            *_pressure(case),
        ),
        cost_share=lost_share(case),
        remedies=(
            Remedy(
                change="pack samples into large files read in sequence (tar, LMDB, parquet)",
                why="a disk gives several times more in sequence than at random",
            ),
            Remedy(
                change="keep the dataset on a faster local disk, or small enough for memory",
                why="what the page cache holds is not read again",
            ),
        ),
    )


def _blocked_is_the_limit(case: Case) -> bool:
    return waits(case) and not computes(case) and makers_busy_share(case) >= MAKERS_BUSY


def _disk_blocks(case: Case) -> bool:
    """Whether the blocking is a local disk's: it is read from, and the kernel sees it stall."""
    if _reading(case) < READING_BYTES_PER_S:
        return False
    if any(source.remote for source in case.workload.sources):
        return False
    stalls = case.stats.gauges.get("psi_io_some_share")
    busy = case.stats.gauges.get("disk_busy_share", 0.0)
    return stalls is None or stalls >= 0.10 or busy >= 0.5


def _reading(case: Case) -> float:
    """Bytes per second from storage."""
    period_s = case.stats.period_s.value
    return (case.stats.read_bytes_per_batch or 0.0) / period_s if period_s else 0.0


def _pressure(case: Case) -> tuple[Evidence, ...]:
    stalls = case.stats.gauges.get("psi_io_some_share")
    if stalls is None:
        return ()
    return (Evidence(text=f"tasks stalled on I/O {share(stalls)} of the time", value=stalls),)
