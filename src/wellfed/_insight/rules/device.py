"""Between the trainer and its device: pinning batches, and copying them over.

Findings are only made of runs that used a device; `untested` says so of the others.
"""

import msgspec

from wellfed._insight.rules.say import of_gain, waiting
from wellfed._insight.supply import MAKERS_BUSY, lost_share, makers_busy_share, stage_s, waits
from wellfed.records import Case, Estimate, Evidence, Finding, Remedy
from wellfed.records.amounts import duration, share, size

__all__ = ["blocking_copy", "pin_bound"]

# A copy that takes less than three per cent of the step is not worth a change.
COPY_MATTERS = 0.03


def blocking_copy(case: Case) -> Finding | None:
    """WF103: batches are copied to the device from ordinary memory, and the trainer waits."""
    stats, trace, workload = case.stats, case.trace, case.workload
    if trace.device == "cpu" or workload.copy_s is None or workload.copy_pinned_s is None:
        return None
    plain_s, pinned_s = workload.copy_s.value, workload.copy_pinned_s.value
    seen = [span.pinned for span in trace.spans if span.pinned >= 0]
    if plain_s is None or pinned_s is None or not seen or any(seen):
        return None
    period_s = stats.period_s.value
    # A pinned copy runs beside the step, so all of the plain one could be won; never the waits.
    cost = min(1 - lost_share(case).value, plain_s / period_s) if period_s else 0.0
    if cost < COPY_MATTERS or pinned_s >= plain_s:
        return None
    change = 'pin_memory=True, and batch.to("cuda", non_blocking=True)'
    if case.plan.pin_memory:
        change = "def pin_memory(self) on your batch class, so that torch can pin it"
    plan = msgspec.structs.replace(case.plan, pin_memory=True)
    return Finding(
        code="WF103",
        name="blocking_copy",
        sentence=(
            f"Batches of {size(stats.payload_bytes or 0.0)} are not in page-locked memory: to copy "
            f"one takes {duration(plain_s)} of each {duration(period_s)} step, in which neither "
            f"the trainer nor the device goes on; page-locked {duration(pinned_s)}, beside it."
        ),
        evidence=(
            Evidence(text=f"a copy takes {duration(plain_s)} (tried after the run)", value=plain_s),
            Evidence(text=f"from page-locked memory {duration(pinned_s)}", value=pinned_s),
            Evidence(text=f"0 of {len(seen)} batches looked at were page-locked", value=0.0),
        ),
        cost_share=Estimate(value=cost, low=0.5 * cost, high=cost),
        remedies=(
            Remedy(
                change=change,
                why="the copy then runs while the device computes",
                plan=None if case.plan.pin_memory else plan,
                gain=Estimate(
                    value=1 / (1 - cost * (1 - pinned_s / plain_s)), low=1.0, high=1 / (1 - cost)
                ),
                memory_bytes=int((stats.payload_bytes or 0.0) * max(1, case.plan.depth)),
            ),
        ),
    )


def pin_bound(case: Case) -> Finding | None:
    """WF104: the one thread that copies batches to page-locked memory is the limit."""
    stats, pin_s = case.stats, stage_s(case, "pin")
    period_s = stats.period_s.value
    if case.trace.device == "cpu" or not case.plan.pin_memory or not waits(case) or not period_s:
        return None
    busy = (pin_s + stage_s(case, "receive")) / period_s
    if busy < MAKERS_BUSY or makers_busy_share(case) >= MAKERS_BUSY:
        return None
    payload = stats.payload_bytes or 0.0
    parts = stats.tensors_per_batch or 0.0
    return Finding(
        code="WF104",
        name="pin_bound",
        sentence=(
            f"One thread takes {duration(pin_s)} to pin a batch of {parts:.0f} tensors, "
            f"{size(payload)}, and is busy {share(busy)} of the time; the workers are not."
        ),
        evidence=(
            waiting(case),
            Evidence(text=f"pinning thread busy {share(busy)}", value=busy),
            Evidence(text=f"workers busy {share(makers_busy_share(case))}"),
        ),
        cost_share=lost_share(case),
        remedies=(
            Remedy(
                change="pack a batch into few tensors in collate_fn, in their smallest dtype",
                why="each tensor is pinned by itself, and the thread shares Python's lock",
                gain=of_gain(case, 0.5 * pin_s),
                reproducibility="the same values if the conversion is the same",
            ),
            Remedy(
                change="pin_memory=False",
                why="the trainer then copies from ordinary memory itself; try which is faster",
            ),
        ),
    )
