"""Workers' memory that grows with the samples read, though nobody allocates any.

fork        trainer's pages, shared by all, private to none
a sample    reading a Python object writes its reference count ─► the page is copied
an epoch    every worker has a copy of every page that holds such objects
"""

from typing import NamedTuple

import numpy as np

from wellfed._insight.rules.limits import room_bytes
from wellfed.records import Case, Estimate, Evidence, Finding, Remedy
from wellfed.records.amounts import share, size

__all__ = ["memory_growth_cow"]

# A growth that would take less than this of the memory by the end of an epoch is let be.
MATTERS = 0.2
# Samples of the gauge in an epoch: with two, one step would look like a slope. They come every 2 s,
# and where a look at the workers' page tables is dear only every 10 s.
FEWEST = 3
# Growth is copying if at most this share of it shows as resident memory: a copied page was
# resident before, a new one was not.
NEWLY_RESIDENT = 0.5
# A slope that is steady explains this much of the variance; a step or noise does not.
STEADY = 0.7


class _Growth(NamedTuple):
    bytes_per_sample: float
    so_far: float
    samples: float
    private: float
    resident: float


def memory_growth_cow(case: Case) -> Finding | None:
    """WF801: pages that workers share with the trainer are copied as samples are read."""
    plan, room = case.plan, room_bytes(case)
    if not plan.workers or plan.start_method != "fork" or room is None:
        return None
    growth = _growth(case)
    if growth is None:
        return None
    epoch = _samples_of_an_epoch(case)
    left = max(0.0, epoch - growth.samples) if epoch is not None else growth.samples
    # No more can be copied than is still shared.
    shared = max(0.0, growth.resident - growth.private)
    more = min(growth.bytes_per_sample * left, shared)
    then = growth.private + more
    if more + growth.so_far < MATTERS * room:
        return None
    return Finding(
        code="WF801",
        name="memory_growth_cow",
        sentence=(
            f"Reading a sample copies {size(growth.bytes_per_sample)} of memory that the workers "
            f"shared: {size(growth.so_far)} so far, up to {size(then)} by the end of the epoch, of "
            f"{size(room)}."
        ),
        evidence=(
            Evidence(
                text=f"the workers' own memory grew by {size(growth.so_far)}",
                value=growth.so_far,
            ),
            Evidence(
                text=f"over {growth.samples:.0f} samples, while what is resident did not grow",
                value=growth.samples,
            ),
            Evidence(text=f"{share(then / room)} of the memory by then", value=then / room),
        ),
        cost_share=Estimate(value=0.0, low=0.0, high=0.0),
        remedies=(
            Remedy(
                change="np.array(paths) or a tensor in the dataset instead of a list of objects",
                why="an array has one reference count, so that reading it copies nothing",
                memory_bytes=-int(then),
            ),
            Remedy(
                change="gc.freeze() before the loader is iterated",
                why="keeps the collector from writing to the objects; reading them still does",
            ),
            Remedy(
                change=f"num_workers={max(1, plan.workers // 2)}",
                why="each worker makes a copy of its own",
                memory_bytes=-int(then / 2),
            ),
        ),
        stakes="run",
    )


def _growth(case: Case) -> _Growth | None:
    """How the workers' own memory grew with the samples; None unless it is steady, and copying."""
    gauges = {gauge.name: gauge for gauge in case.trace.gauges}
    private, resident = gauges.get("workers_private_bytes"), gauges.get("workers_rss_bytes")
    last = case.trace.epochs[-1]
    spans = [span for span in case.trace.spans if span.epoch == last.index]
    if private is None or resident is None or not spans:
        return None
    # By their numbers, because the first spans of a long epoch may have been dropped.
    got_ns = [last.first_ns, *(span.got_ns for span in spans if span.number)]
    made = [1, *(span.number + 1 for span in spans if span.number)]
    at_ns, own = np.array(private.at_ns), np.array(private.values)
    inside = (at_ns >= got_ns[0]) & (at_ns <= got_ns[-1])
    if inside.sum() < FEWEST or not resident.values or case.stats.samples_per_batch is None:
        return None
    samples = np.interp(at_ns[inside], got_ns, made) * case.stats.samples_per_batch
    all_resident = np.interp(at_ns[inside], resident.at_ns, resident.values)
    own_each, newly_each = (
        float(np.polyfit(samples, series, 1)[0]) for series in (own[inside], all_resident)
    )
    steady = float(np.corrcoef(samples, own[inside])[0, 1]) ** 2 if np.ptp(own[inside]) else 0.0
    if own_each <= 0 or steady < STEADY or newly_each > NEWLY_RESIDENT * own_each:
        return None
    return _Growth(
        bytes_per_sample=own_each,
        so_far=float(own[inside][-1] - own[inside][0]),
        samples=float(samples[-1]),
        private=float(own[inside][-1]),
        resident=float(all_resident[-1]),
    )


def _samples_of_an_epoch(case: Case) -> float | None:
    if case.workload.length is not None:
        return float(case.workload.length)
    batches, each = case.workload.batches_per_epoch, case.stats.samples_per_batch
    return batches * each if batches and each else None
