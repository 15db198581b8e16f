"""The back end of `num_workers="auto"`: times a few samples, then one of the others does it all.

    first index ─► one worker fetches some of it ─► choose ─► inline | processes (| with threads)

Random draws depend on the position in the epoch (see `positions`), so the choice changes no batch.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

from msgspec.structs import replace

from wellfed._engine.arrivals import parcel_of
from wellfed._engine.away import standing_reason
from wellfed._engine.crew import Crew
from wellfed._engine.inline import Inline
from wellfed._engine.making import setup_of
from wellfed._engine.parcel import discard
from wellfed._engine.process_stream import ProcessStream
from wellfed._engine.processes import Processes
from wellfed._engine.rows import rows_of
from wellfed._engine.taking import deadline_after, left_s
from wellfed._engine.wire import Kind, Record, Task
from wellfed.job import Job
from wellfed.records import Plan
from wellfed.seams import Stream

__all__ = ["INLINE_S", "MOST_THREADS", "Auto", "choose"]

# Samples that are timed. The first warms the caches of its code and is timed with the others: the
# choices lie a factor of ten apart.
TIMED = 4

# Below this a batch is cheaper to make than to hand over: a small one takes 60 µs of the trainer's
# time and 100 µs of a worker's (benchmarks/parcels.py, and the hop of benchmarks/engine.py).
INLINE_S = 0.0003

# Data that is waited for: this share of a sample's time is not on the CPU.
WAITING_SHARE = 0.5
# Threads a worker can keep busy before its interpreter lock is the limit: with 20 ms a sample 64
# threads in each of two workers gave 63 % of 128 (benchmarks/engine.py, latency).
MOST_THREADS = 64
MOST_WORKERS = 16


class Auto:
    """Chooses among the others, once, when the iterator starts."""

    name = "auto"

    def refuses(self, job: Job, plan: Plan) -> str | None:  # noqa: ARG002 - the plan is its own
        """Only where the choice cannot change a batch."""
        if not job.by_position:
            return 'Only num_workers="auto" leaves the choice open.'
        return None

    def open(self, job: Job, plan: Plan, indices: Iterator[Any]) -> Stream:
        """Time some samples, choose, and start."""
        if rows_of(job) is not None and job.worker_init is None:
            return Inline().open(job, plan, indices)
        if standing_reason(job) is not None:
            # Each logical worker needs a process of its own, whose state no timing has touched.
            return Processes().open(job, plan, indices)
        try:
            first = next(indices)
        except StopIteration:
            return Inline().open(job, plan, iter(()))
        indices = chain((first,), indices)
        crew = Crew(setup_of(job), job.context)
        try:
            timed = _timed(job, crew, first)
            chosen = choose(job, plan, timed, len(first) if job.batched else 1)
            if chosen.backend == "inline":
                crew.close()
                return Inline().open(job, chosen, indices)
            # The one that timed has no threads, and its dataset may have changed where it refused.
            if chosen.threads or timed is None:
                crew.close()
                return Processes().open(job, chosen, indices)
            return ProcessStream(job, chosen, indices, crew)
        except BaseException:
            crew.close()
            raise


class Timed(NamedTuple):
    """What a sample took, in seconds."""

    wall_s: float
    cpu_s: float


def choose(job: Job, cpus: Plan, timed: Timed | None, samples: int) -> Plan:
    """How to make batches of samples that take that long.

    Args:
        job: what is loaded.
        cpus: its `workers` are the CPUs that may be used; the rest is kept.
        timed: what a sample took; None if it raised, which each worker is then to tell.
        samples: in a batch.
    """
    if job.limits is not None:
        cpus = replace(cpus, workers=min(cpus.workers, max(1, job.limits.most_workers)))
    free = job.worker_init is None and not job.timeout_s
    if timed is None or not timed.wall_s:
        return replace(cpus, backend="processes")
    if free and timed.wall_s * samples < INLINE_S:
        return replace(cpus, backend="inline", workers=0)
    if 1 - timed.cpu_s / timed.wall_s < WAITING_SHARE:
        return replace(cpus, backend="processes")
    side_by_side = round(timed.wall_s / max(timed.cpu_s, timed.wall_s / MOST_THREADS))
    if job.thread_safe and Processes().refuses(job, replace(cpus, threads=side_by_side)) is None:
        return replace(cpus, backend="processes", threads=side_by_side)
    workers = min(MOST_WORKERS, cpus.workers * side_by_side)
    if job.limits is not None:
        workers = min(workers, job.limits.most_workers)
    return replace(cpus, backend="processes", workers=max(cpus.workers, workers))


def _timed(job: Job, crew: Crew, first: Any) -> Timed | None:
    some = first[:TIMED] if job.batched and isinstance(first, (list, tuple)) else first
    crew.add((0,))
    crew.send(Task(0, 0, 0, 0, 1, True, False, 0, some), 0)
    came: list[tuple[int, Record]] = []
    deadline = deadline_after(job.timeout_s)
    while not came:
        if crew.dead:  # what it died of is found out by those that make batches
            return None
        came = crew.read(crew.poll(left_s(deadline, job.timeout_s)))
    process, record = came[0]
    discard(parcel_of(record), crew.shelves.of(process))
    if record.kind != Kind.BATCH:
        return None
    samples = len(some) if job.batched else 1
    return Timed(record.fetch_ns / samples / 1e9, record.cpu_ns / samples / 1e9)
