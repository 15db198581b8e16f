"""Limits that the run is about to meet: memory, /dev/shm, open files; and one it has met: swap.

They are forecasts from what a batch holds and what may be under way at once, so they can be told
from a minute of a run that would fail in its third hour.
"""

import msgspec
import numpy as np

from wellfed._insight.rules.say import waiting
from wellfed._insight.supply import lost_share, waits
from wellfed.records import Case, Estimate, Evidence, Finding, Gauge, LoaderSeen, Plan, Remedy
from wellfed.records.amounts import duration, share, size

__all__ = ["fd_limit", "memory_risk_prefetch", "room_bytes", "shm_too_small", "swap"]

# Past this share of a limit there is no room for the next larger batch, or a second loader.
NEAR = 0.8
# Batches under way that take less than this of the memory are not what will fill it.
MATTERS = 0.2
# What a remedy aims at: with room to spare.
AIM = 0.5
# Batches ahead that growth is followed where an epoch's length is not known.
FAR = 10_000
# Open files grow "with the batches" if by this share of their tensors.
KEPT = 0.5
# Reading a page from swap takes 0.1 ms on an SSD: with 2 MiB a second a process waits for 5 % of
# the time.
SWAP_HURTS_BYTES_PER_S = 2 * 2**20

NO_TIME = Estimate(value=0.0, low=0.0, high=0.0)


def memory_risk_prefetch(case: Case) -> Finding | None:
    """WF802: the batches that may be under way at once do not fit in memory with the rest."""
    plan, batch_bytes = case.plan, case.stats.payload_bytes or 0.0
    room = room_bytes(case)
    idle = _idle_batches(case.trace.others)
    flight = plan.depth * batch_bytes
    if room is None or not plan.workers or flight + idle < MATTERS * room:
        return None
    gauges = case.stats.gauges
    rest = gauges.get("trainer_rss_bytes", 0.0) + gauges.get("workers_private_bytes", 0.0)
    peak = rest + flight + idle
    if peak < NEAR * room:
        return None
    prefetch = int(max(1, (AIM * room - rest - idle) // max(1.0, plan.workers * batch_bytes)))
    return Finding(
        code="WF802",
        name="memory_risk_prefetch",
        sentence=(
            f"{plan.workers} workers × {plan.prefetch} batches of {size(batch_bytes)} are "
            f"{size(flight)} when the step pauses; with {size(rest)} for the processes that is "
            f"{share(peak / room)} of the {size(room)} there are."
        ),
        evidence=(
            Evidence(text=f"{size(batch_bytes)} a batch", value=batch_bytes),
            Evidence(text=f"{size(rest)} of the trainer and its workers' own", value=rest),
            Evidence(text=f"{size(room)} may be used", value=room),
            *_of_others(case.trace.others),
        ),
        cost_share=NO_TIME,
        remedies=(
            *_less_prefetch(plan, prefetch, batch_bytes),
            *(
                (
                    Remedy(
                        change="persistent_workers=False on the loader that is not training",
                        why="its workers and the batches that they hold then go when it is done",
                        memory_bytes=-int(idle),
                    ),
                )
                if idle
                else ()
            ),
            Remedy(
                change="uint8 out of the dataset, .float() on the device",
                why="a quarter of the bytes in each batch",
                memory_bytes=-int(0.75 * flight),
            ),
        ),
        stakes="run",
    )


def shm_too_small(case: Case) -> Finding | None:
    """WF803: the batches that may be under way at once do not fit in /dev/shm."""
    plan, free = case.plan, case.machine.shm_free_bytes.value
    batch_bytes = case.stats.payload_bytes or 0.0
    if free is None or not plan.workers or plan.backend != "torch" or not batch_bytes:
        return None
    # One more is in the trainer's hands: it stays until the step lets go of it.
    need = (plan.depth + 1) * batch_bytes
    if need < NEAR * free:
        return None
    total = case.machine.shm_total_bytes.value or free
    prefetch = int(max(1, (AIM * free) // (plan.workers * batch_bytes)))
    return Finding(
        code="WF803",
        name="shm_too_small",
        sentence=(
            f"{plan.depth} batches of {size(batch_bytes)} may wait in /dev/shm at once, "
            f"{size(need)} with the one in use, and it has {size(free)} free: the run ends with "
            '"Bus error" when the step pauses.'
        ),
        evidence=(
            Evidence(text=f"{size(free)} of {size(total)} free in /dev/shm", value=free),
            Evidence(text=f"{size(batch_bytes)} a batch", value=batch_bytes),
        ),
        cost_share=NO_TIME,
        remedies=(
            Remedy(
                change=f"docker run --shm-size={-(-2 * need // 2**30):.0f}g",
                why="or, under Kubernetes, an emptyDir of medium Memory at /dev/shm",
            ),
            *_less_prefetch(plan, prefetch, batch_bytes),
            Remedy(
                change="from wellfed import DataLoader",
                why="its batches lie in memory of their own, not in /dev/shm",
            ),
        ),
        stakes="run",
    )


def fd_limit(case: Case) -> Finding | None:
    """WF804: open files come near their limit: one a tensor that is under way, or kept."""
    plan, limit = case.plan, case.machine.fd_limit.value
    tensors = case.stats.tensors_per_batch
    gauge = _gauge(case, "open_fds")
    if limit is None or tensors is None or gauge is None or not plan.workers:
        return None
    if plan.backend != "torch":
        return None
    base, now = min(gauge.values), max(gauge.values)
    if now < tensors:  # shared by name (`file_system`): not even one batch's files are open
        return None
    need = base + (plan.depth + 1) * tensors
    each = _growth_per_batch(case, gauge)
    kept = each >= KEPT * tensors > 0
    ahead = case.workload.batches_per_epoch or FAR
    then = max(need, now + each * ahead) if kept else max(need, now)
    if then < NEAR * limit:
        return None
    left = max(0.0, (limit - now) / each) if kept else 0.0
    return Finding(
        code="WF804",
        name="fd_limit",
        sentence=(
            f"Each batch that the script keeps holds {each:.0f} files open: {now:.0f} are by now, "
            f"and the limit of {limit} is {left:.0f} batches away "
            f"({duration(left * case.stats.period_s.value)})."
            if kept
            else f"{plan.depth} batches of {tensors:.0f} tensors need {need:.0f} open files, and "
            f"the limit is {limit}."
        ),
        evidence=(
            Evidence(text=f"{now:.0f} files open, {base:.0f} at first", value=now),
            Evidence(text=f"{tensors:.0f} tensors a batch, each with a file", value=tensors),
            *([Evidence(text=f"{each:.1f} more with each batch", value=each)] if kept else ()),
            Evidence(text=f"limit of open files {limit}", value=limit),
        ),
        cost_share=NO_TIME,
        remedies=(
            *(
                (
                    Remedy(
                        change="kept.append(tensor.clone()) instead of kept.append(tensor)",
                        why="the copy is in ordinary memory, and the batch's file can close",
                    ),
                )
                if kept
                else ()
            ),
            Remedy(
                change='torch.multiprocessing.set_sharing_strategy("file_system")',
                why="tensors are then shared by name, and hold no file open",
            ),
            Remedy(
                change="one tensor instead of many in a sample, split in the loop",
                why="one file a batch instead of one a tensor",
                reproducibility="the same data in another form",
            ),
            Remedy(change="ulimit -n 65536", why="raises the limit, as far as the system allows"),
        ),
        stakes="run",
    )


def swap(case: Case) -> Finding | None:
    """WF805: pages come back from swap while batches are made."""
    rate = case.stats.gauges.get("swap_in_bytes_per_s")
    if rate is None or not rate >= SWAP_HURTS_BYTES_PER_S or not waits(case):
        return None
    faults = case.stats.major_faults_per_batch
    fewer = max(1, case.plan.workers // 2)
    return Finding(
        code="WF805",
        name="swap",
        sentence=(
            f"Memory is short: {size(rate)} a second come back from swap, and making a batch waits "
            f"for the disk {faults:.0f} times."
        ),
        evidence=(
            waiting(case),
            Evidence(text=f"swap-in {size(rate)}/s", value=rate),
            Evidence(text=f"{faults:.0f} major faults a batch", value=faults),
        ),
        cost_share=lost_share(case),
        remedies=(
            *(
                (
                    Remedy(
                        change=f"num_workers={fewer}",
                        why="each worker holds memory; with fewer the rest can stay",
                        plan=msgspec.structs.replace(case.plan, workers=fewer),
                    ),
                )
                if case.plan.workers > 1
                else ()
            ),
            Remedy(
                change="samples' metadata as arrays, not as lists of Python objects",
                why="an array is a tenth of the size, and workers share its pages",
            ),
        ),
    )


def room_bytes(case: Case) -> float | None:
    """Memory that the run may use: what the machine has free, or what its group allows."""
    machine = case.machine
    known = [
        float(fact.value)
        for fact in (machine.memory_available_bytes, machine.memory_limit_bytes)
        if fact.value is not None
    ]
    return min(known, default=None)


def _less_prefetch(plan: Plan, prefetch: int, batch_bytes: float) -> tuple[Remedy, ...]:
    if prefetch >= (plan.prefetch or 2):
        return ()
    fewer = (plan.prefetch or 2) - prefetch
    return (
        Remedy(
            change=f"prefetch_factor={prefetch}",
            why="fewer batches wait at once",
            plan=msgspec.structs.replace(plan, prefetch=prefetch),
            memory_bytes=-int(fewer * plan.workers * batch_bytes),
        ),
    )


def _idle_batches(others: tuple[LoaderSeen, ...]) -> float:
    """Bytes of batches that loaders hold which are not iterated now, because their workers stay."""
    return float(sum(one.depth * max(0, one.payload_bytes) for one in others if one.persistent))


def _of_others(others: tuple[LoaderSeen, ...]) -> tuple[Evidence, ...]:
    idle = _idle_batches(others)
    if not idle:
        return ()
    return (Evidence(text=f"{size(idle)} held by loaders that stay between epochs", value=idle),)


def _gauge(case: Case, name: str) -> Gauge | None:
    return next((one for one in case.trace.gauges if one.name == name and one.values), None)


def _growth_per_batch(case: Case, gauge: Gauge) -> float:
    """How much the gauge grows with each batch delivered, by least squares; 0 if it is not seen."""
    got_ns = np.array([span.got_ns for span in case.trace.spans], dtype=np.float64)
    at_ns, values = np.array(gauge.at_ns), np.array(gauge.values)
    inside = at_ns >= got_ns[0]
    batches = np.searchsorted(got_ns, at_ns[inside])
    if inside.sum() < 3 or np.ptp(batches) == 0:
        return 0.0
    return float(np.polyfit(batches, values[inside], 1)[0])
