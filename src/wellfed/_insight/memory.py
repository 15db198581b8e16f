"""Memory that a plan would take, in bytes, and whether there is as much.

    trainer | worker: private memory, and what copy-on-write adds | ... | batches in shared memory

Formulas and what was measured: docs/explanation/model.md, "Memory".
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from wellfed._insight.pipeline import prefetch_of
from wellfed.records import Case, Gauge, Machine, Plan
from wellfed.records.amounts import size

__all__ = [
    "FORKED_BYTES",
    "Fit",
    "MemoryUse",
    "at_rest_bytes",
    "fit",
    "growth_bytes_per_s",
    "memory_use",
]

# Private memory of an idle worker where none was measured: forked, spawned by torch, and spawned
# from our template, which has imported torch for all of them. benchmarks/prediction.py --memory
# and benchmarks/engine.py (startup_spawn); torch 2.13.
FORKED_BYTES = 10e6
SPAWNED_BYTES = 175e6
FROM_TEMPLATE_BYTES = 65e6

# Slabs that our worker holds beyond those of the batches made ahead: one being written, one with
# the trainer, and what their sizes differ by. Four loads of 13 and 50 MB a batch.
SLABS_AHEAD = 2.5

# torch's pinned allocator rounds blocks up to a power of two, and keeps them.
# Descriptors per torch worker in the trainer: two pipes, a sentinel, a socket now and then.
DESCRIPTORS_A_WORKER = 5

# Of what is free, so much may be used: the script's own memory moves meanwhile.
USABLE_SHARE = 0.8

# A forecast looks so far ahead at growth. Past it workers have been made anew, or the trend is
# not one.
GROWTH_AHEAD_S = 3600.0

# A line through fewer points fits by chance.
LEAST_LOOKS = 4


class MemoryUse(NamedTuple):
    """What a loader takes beyond the trainer with its dataset, at its peak."""

    workers_bytes: float
    """Private memory of the worker processes, samples in the making included."""
    growth_bytes: float
    """What they will have grown by as long as they live, or in an hour, if they go on as seen."""
    batches_bytes: float
    """Batches that are made and not given up yet: in shared memory, where workers make them."""
    pinned_bytes: float
    """Copies in page-locked memory."""
    shared_bytes: float
    """The part that needs room in /dev/shm."""
    descriptors: int
    """Files that the trainer has open for them."""

    @property
    def total_bytes(self) -> float:
        """Memory in all."""
        return self.workers_bytes + self.growth_bytes + self.batches_bytes + self.pinned_bytes


class Fit(NamedTuple):
    """Whether a plan fits the limits that were read."""

    fits: bool
    limit: str = ""
    """The limit that it passes by most: "memory", "shared memory" or "open files"."""
    short: float = 0.0
    """By how much: bytes, or files."""
    nearest: Plan | None = None
    """A plan that fits: prefetching less, then fewer workers; None if none does, or this one."""

    def __str__(self) -> str:
        """As a clause."""
        if self.fits:
            return "fits"
        short = f"{self.short:.0f} files" if self.limit == "open files" else size(self.short)
        plan = self.nearest
        instead = ""
        if plan is not None:
            instead = f"; num_workers={plan.workers} fits"
            if plan.workers:
                instead = f"; num_workers={plan.workers}, prefetch_factor={plan.prefetch} fits"
        return f"does not fit: {self.limit} is {short} short{instead}"


def memory_use(cases: Sequence[Case], plan: Plan) -> MemoryUse:
    """What a plan would take.

    Args:
        cases: measured runs of the job, one at least. Those with workers whose memory was sampled
            tell what a worker takes: one as a proportion, several as a line through all of them.
        plan: the plan.
    """
    stats = cases[0].stats
    batch_bytes = max(
        (case.stats.payload_bytes or 0.0) + (case.stats.message_bytes or 0.0) for case in cases
    )
    tensors = stats.tensors_per_batch or 1.0
    workers, depth = plan.workers, plan.workers * prefetch_of(plan)
    growth = workers * max(_growth_bytes(case) / max(1, case.plan.workers) for case in cases)
    ours = plan.backend == "processes"
    if not workers:
        # The samples, and the batch that they are collated to; the one before is still there.
        batches = 3 * batch_bytes
        return MemoryUse(0.0, 0.0, batches, _pinned(plan, batch_bytes, tensors), 0.0, 0)
    batches = (depth + SLABS_AHEAD * workers) * batch_bytes if ours else (depth + 1) * batch_bytes
    files = 2 * workers if ours else round(depth * tensors)
    return MemoryUse(
        workers_bytes=_workers_bytes(cases, plan, batch_bytes),
        growth_bytes=growth,
        batches_bytes=batches,
        pinned_bytes=_pinned(plan, batch_bytes, tensors),
        # Our slabs are anonymous memory: a small /dev/shm does not limit them.
        shared_bytes=0.0 if ours else batches,
        descriptors=DESCRIPTORS_A_WORKER * workers + files,
    )


def fit(cases: Sequence[Case], plan: Plan) -> Fit:
    """Whether a plan fits what the machine leaves, and the nearest one that does.

    A limit that could not be read limits nothing.
    """
    over = _most_over(cases, plan)
    if over is None:
        return Fit(True)
    limit, short = over
    nearest = next((less for less in _smaller(plan) if _most_over(cases, less) is None), None)
    return Fit(False, limit, short, nearest)


def growth_bytes_per_s(gauges: Sequence[Gauge]) -> float:
    """Slope of the workers' private memory: pages copied as reference counts touch them.

    0 where that is no trend: memory shrank, or moved up and down by as much.
    """
    seen = next((one for one in gauges if one.name == "workers_private_bytes"), None)
    if seen is None or len(seen.values) < 4:
        return 0.0
    at_s = np.array(seen.at_ns[-len(seen.values) :]) * 1e-9
    # The first looks see workers that are still growing into their work.
    late = at_s >= at_s[0] + (at_s[-1] - at_s[0]) / 2
    if late.sum() < LEAST_LOOKS:
        return 0.0
    (slope, _), spread = np.polyfit(at_s[late], np.array(seen.values)[late], 1, cov=True)
    return float(slope) if slope > 2 * np.sqrt(spread[0, 0]) else 0.0


def _growth_bytes(case: Case) -> float:
    """What the workers of a run grow by, as long as they live.

    Those of one epoch end with it. What forked ones copy of the trainer is no more than it has.
    """
    ahead_s, batches = GROWTH_AHEAD_S, case.workload.batches_per_epoch
    if batches and not case.plan.persistent:
        ahead_s = min(ahead_s, batches * case.stats.period_s.value)
    growth = growth_bytes_per_s(case.trace.gauges) * ahead_s
    trainer = case.stats.gauges.get("trainer_rss_bytes")
    if trainer is None or case.plan.start_method not in (None, "fork"):
        return growth
    return min(growth, trainer * max(1, case.plan.workers))


def _workers_bytes(cases: Sequence[Case], plan: Plan, batch_bytes: float) -> float:
    """Private memory of all workers: as measured, else at rest and with their samples."""
    seen = {
        case.plan.workers: case.stats.gauges["workers_private_bytes"]
        for case in cases
        if case.plan.workers and case.stats.gauges.get("workers_private_bytes")
    }
    if not seen:
        return plan.workers * (at_rest_bytes(plan) + batch_bytes)
    counts, sums = np.array(list(seen)), np.array(list(seen.values()))
    each, first = float(sums.sum() / counts.sum()), 0.0
    if len(seen) > 1:
        # Pages that the trainer has changed since belong to the workers, once for all of them:
        # hence a first part. Neither part is negative but by noise.
        line = np.polyfit(counts, sums, 1)
        if line.min() >= 0:
            each, first = float(line[0]), float(line[1])
    if plan.backend == "processes":
        # Torch's worker has the batch it makes mapped alone, and ours has it in a slab.
        return plan.workers * max(at_rest_bytes(plan), each - batch_bytes)
    return first + each * plan.workers


def at_rest_bytes(plan: Plan) -> float:
    """Memory that a worker has of its own before it makes anything."""
    if plan.start_method in (None, "fork"):
        return FORKED_BYTES
    return FROM_TEMPLATE_BYTES if plan.backend == "processes" else SPAWNED_BYTES


def _pinned(plan: Plan, batch_bytes: float, tensors: float) -> float:
    if not plan.pin_memory or not batch_bytes:
        return 0.0
    block = 2.0 ** np.ceil(np.log2(batch_bytes / max(1.0, tensors)))
    return float(block * max(1.0, tensors) * (plan.workers * prefetch_of(plan) + 1))


def _most_over(cases: Sequence[Case], plan: Plan) -> tuple[str, float] | None:
    """The limit that is passed by the largest share of it, and by how much."""
    use = memory_use(cases, plan)
    need = {
        "memory": use.total_bytes,
        "shared memory": use.shared_bytes,
        "open files": float(use.descriptors),
    }
    left = _left(cases[0].machine)
    over = [(need[name] / max(1.0, left[name]), name) for name in left if need[name] > left[name]]
    if not over:
        return None
    _, name = max(over)
    return name, need[name] - left[name]


def _left(machine: Machine) -> dict[str, float]:
    """What may be used of each limit that is known, as surveyed before the run."""
    left: dict[str, float] = {}
    memory = [machine.memory_available_bytes.value]
    if machine.memory_limit_bytes.value is not None:
        memory.append(machine.memory_limit_bytes.value - (machine.memory_used_bytes.value or 0))
    known = [one for one in memory if one is not None]
    if known:
        left["memory"] = USABLE_SHARE * max(0, min(known))
    if machine.shm_free_bytes.value is not None:
        left["shared memory"] = USABLE_SHARE * machine.shm_free_bytes.value
    if machine.fd_limit.value is not None:
        # The script's own files, and those of the libraries.
        left["open files"] = max(0.0, machine.fd_limit.value - 256.0)
    return left


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Plans that take less, the nearest first: prefetching costs least speed, so it goes first."""
    for workers in range(plan.workers, 0, -1):
        for prefetch in range(prefetch_of(plan), 0, -1):
            yield msgspec.structs.replace(plan, workers=workers, prefetch=prefetch)
    yield msgspec.structs.replace(plan, workers=0, prefetch=None, persistent=False)
