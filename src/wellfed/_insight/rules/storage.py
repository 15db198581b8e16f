"""Making batches is mostly waiting: for a store far away, or for a disk at its limit."""

from wellfed._insight.rules.samples import sample_evidence
from wellfed._insight.rules.say import cpu_evidence, more_workers, other_streams, waiting
from wellfed._insight.supply import (
    blocked_share,
    cache_room_bytes,
    computes,
    epoch_read_bytes,
    lost_share,
    makers_set_the_pace,
    unseen_cores,
    waits,
)
from wellfed.records import Case, Evidence, Finding, Remedy
from wellfed.records.amounts import duration, share, size

__all__ = [
    "READING_BYTES_PER_S",
    "latency_bound",
    "pressure",
    "read_bytes_per_s",
    "storage_bound",
]

# Storage did the blocking if at least so many bytes a second came from it: a page-cache miss now
# and then reads less.
READING_BYTES_PER_S = 1e6

# Opening a file costs a network file system or a spinning disk about what reading a quarter of a
# megabyte does.
SMALL_FILE_BYTES = 256 * 1024

OUR_LOADER = "wellfed._loader.DataLoader"
"""As `Trace.loader` names it."""


def latency_bound(case: Case) -> Finding | None:
    """WF301: makers sit blocked, and neither CPU nor a local disk is busy: round trips."""
    if not _blocked_is_the_limit(case) or _disk_blocks(case) or _others_compute(case):
        return None
    stats, read = case.stats, read_bytes_per_s(case)
    sample = f" {duration(stats.sample_s)} a sample," if stats.sample_s is not None else ""
    remote = [source for source in case.workload.sources if source.remote]
    where = f" ({', '.join(sorted({one.kind for one in remote}))})" if remote else ""
    return Finding(
        code="WF301",
        name="latency_bound",
        sentence=(
            f"Samples wait for something far away{where}:{sample} blocked "
            f"{share(blocked_share(case))} of the time, CPU {share(stats.maker_cpu_share)}."
        ),
        evidence=(
            waiting(case),
            Evidence(
                text=f"blocked {share(blocked_share(case))} of fetch time",
                value=blocked_share(case),
            ),
            cpu_evidence(case),
            Evidence(text=f"{read / 1e6:.0f} MB/s from local disks", value=read),
            *_small_files(case),
            *sample_evidence(case),
        ),
        cost_share=lost_share(case),
        remedies=(
            *_threads(case),
            *more_workers(case, "blocked workers need no core: many more than cores are right"),
            Remedy(
                change="def __getitems__(self, indices): fetch them concurrently, e.g. by threads",
                why="one worker can wait for a whole batch at once",
            ),
            *((_packed(),) if _small_files(case) else ()),
        ),
    )


def storage_bound(case: Case) -> Finding | None:
    """WF302: makers sit blocked on a local disk."""
    if not _blocked_is_the_limit(case) or not _disk_blocks(case):
        return None
    read = read_bytes_per_s(case)
    devices = sorted({one.device for one in case.workload.sources if one.device})
    device = f" {', '.join(devices)}" if devices else ""
    return Finding(
        code="WF302",
        name="storage_bound",
        sentence=(
            f"Samples wait for the disk{device}, which gives {read / 1e6:.0f} MB/s: their makers "
            f"are blocked {share(blocked_share(case))} of the time."
        ),
        evidence=(
            waiting(case),
            Evidence(text=f"{read / 1e6:.0f} MB/s from storage", value=read),
            Evidence(
                text=f"blocked {share(blocked_share(case))} of fetch time",
                value=blocked_share(case),
            ),
            *pressure(case),
            *_small_files(case),
            *_next_epoch(case),
            *sample_evidence(case),
        ),
        cost_share=lost_share(case),
        remedies=(
            _packed(),
            Remedy(
                change=f"num_workers={2 * max(1, case.plan.workers)}, to see whether it gives more",
                why="a disk below its limit serves more readers; one at it makes them wait",
                reproducibility=other_streams(case),
            ),
            Remedy(
                change="keep the dataset on a faster local disk, or small enough for memory",
                why="what the page cache holds is not read again",
            ),
        ),
    )


def _threads(case: Case) -> tuple[Remedy, ...]:
    """Consent to threads, where our own loader is asked and has none yet."""
    if case.trace.loader != OUR_LOADER or case.plan.threads or case.workload.style != "map":
        return ()
    return (
        Remedy(
            change='num_workers="auto", thread_safe=True',
            why="each worker then waits for many samples at once, in threads; it is your word that "
            "the dataset allows that",
            reproducibility="the same order; random draws depend on the position in the epoch",
        ),
    )


def _blocked_is_the_limit(case: Case) -> bool:
    return waits(case) and not computes(case) and makers_set_the_pace(case)


def _disk_blocks(case: Case) -> bool:
    """Whether the blocking is a local disk's: it is read from, and tasks stall on it or it is busy.

    A disk that is busy half the time is the reason however little it gives: small random reads
    from a spinning disk are under a megabyte a second.
    """
    read, gauges = read_bytes_per_s(case), case.stats.gauges
    if not read or any(source.remote for source in case.workload.sources):
        return False
    if gauges.get("disk_busy_share", 0.0) >= 0.5:
        return True
    return read >= READING_BYTES_PER_S and _stalls(case, 0.10) >= 0.10


def _others_compute(case: Case) -> bool:
    """Whether processes of the run that no span sees keep cores busy: a decoder, a server."""
    return unseen_cores(case) >= 0.3 * max(1, case.plan.workers)


def _stalls(case: Case, unknown: float) -> float:
    """Share of time in which a task of ours stalled on I/O; the host's where ours is dark."""
    gauges = case.stats.gauges
    return gauges.get("own_psi_io_some_share", gauges.get("psi_io_some_share", unknown))


def read_bytes_per_s(case: Case) -> float:
    """Bytes per second from storage."""
    period_s = case.stats.period_s.value
    return (case.stats.read_bytes_per_batch or 0.0) / period_s if period_s else 0.0


def _small_files(case: Case) -> tuple[Evidence, ...]:
    """What a file costs before its first byte, where files are small."""
    small = [
        source.mean_file_bytes
        for source in case.workload.sources
        if source.mean_file_bytes is not None and source.mean_file_bytes < SMALL_FILE_BYTES
    ]
    if not small or not case.stats.read_calls_per_batch:
        return ()
    text = f"files of {size(small[0])} each, {case.stats.read_calls_per_batch:.0f} reads a batch"
    return (Evidence(text=text, value=small[0]),)


def _next_epoch(case: Case) -> tuple[Evidence, ...]:
    """Whether the next epoch would read from storage again, if only one was seen."""
    needed, room = epoch_read_bytes(case), cache_room_bytes(case)
    if needed is None or room is None or len({span.epoch for span in case.trace.spans}) > 1:
        return ()
    if needed < room:
        text = f"an epoch reads {size(needed)}, which memory can hold: later ones will be faster"
    else:
        text = f"an epoch reads {size(needed)} and memory holds {size(room)}: each reads again"
    return (Evidence(text=text, value=needed / room),)


def _packed() -> Remedy:
    return Remedy(
        change="pack samples into large files read in sequence (tar, LMDB, parquet)",
        why="one open and one seek for many samples; in sequence a disk gives several times more",
    )


def pressure(case: Case) -> tuple[Evidence, ...]:
    """How much of the time tasks stalled on I/O; nothing where the kernel does not say."""
    stalls = _stalls(case, -1.0)
    if stalls < 0:
        return ()
    return (Evidence(text=f"tasks stalled on I/O {share(stalls)} of the time", value=stalls),)
