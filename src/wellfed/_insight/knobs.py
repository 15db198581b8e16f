"""What each of the four settings that people turn first would do here, including nothing."""

import msgspec

from wellfed._insight.supply import (
    best_workers,
    comes_in_time,
    forecast,
    respawn_share,
    waits,
)
from wellfed.records import Case, Estimate, Knob
from wellfed.records.amounts import share, size

__all__ = ["knobs"]

NOTHING = Estimate(value=1.0, low=1.0, high=1.0)

# Page-locked memory about doubles the rate of a copy to the device (PCIe); what is saved is at
# most half of the copy, and copies run at 6 GB/s or more from ordinary memory.
UNPINNED_BYTES_PER_S = 6e9


# Less memory than this is within what a trainer's own varies by.
WORTH_NAMING_BYTES = 100e6


def knobs(case: Case) -> tuple[Knob, ...]:
    """num_workers, prefetch_factor, pin_memory and persistent_workers, each by itself."""
    return (_workers(case), _prefetch(case), _pin(case), _persistent(case))


def _workers(case: Case) -> Knob:
    now = str(case.plan.workers)
    others = [
        one
        for one in case.forecasts
        if one.plan.workers != case.plan.workers
        and one.plan.in_order == case.plan.in_order
        and (one.plan.workers == 0 or one.plan.persistent == case.plan.persistent)
    ]
    best = best_workers(case)
    alone = next((one for one in others if one.plan.workers == 0), None)
    if alone is not None and alone.gain.value > (best.gain.value if best is not None else 1.02):
        best = alone
    if best is not None and best.plan.workers != case.plan.workers:
        why = "predicted from the measured batch times and the cores that are left"
        if abs(best.memory_bytes or 0) >= WORTH_NAMING_BYTES:
            sign = "+" if best.memory_bytes and best.memory_bytes > 0 else "-"
            why += f"; RAM {sign}{size(abs(best.memory_bytes or 0))}"
        return Knob(
            name="num_workers",
            now=now,
            best=str(best.plan.workers),
            gain=best.gain,
            sentence=why,
        )
    nearest = max(others, key=lambda one: one.gain.value, default=None)
    gain = nearest.gain if nearest is not None else NOTHING
    if not waits(case):
        why = "the step is the limit, and more workers only take its memory and cores"
    else:
        why = "another number of workers would not deliver batches faster"
    return Knob(name="num_workers", now=now, best=now, gain=_at_most_one(gain), sentence=why)


def _prefetch(case: Case) -> Knob:
    plan = case.plan
    if plan.workers == 0:
        why = "it has no meaning without workers"
        return Knob(name="prefetch_factor", now="None", best="None", gain=NOTHING, sentence=why)
    now = str(plan.prefetch)
    deeper = forecast(case, msgspec.structs.replace(plan, prefetch=4 * (plan.prefetch or 2)))
    if comes_in_time(case) and waits(case):
        why = "batches were there when asked for: what is waited for is their unpacking"
        return Knob(name="prefetch_factor", now=now, best=now, gain=NOTHING, sentence=why)
    if deeper is not None and deeper.gain.value >= 1.03:
        return Knob(
            name="prefetch_factor",
            now=now,
            best=str(deeper.plan.prefetch),
            gain=deeper.gain,
            sentence="batches differ in cost, and a deeper buffer rides out the slow ones",
        )
    why = (
        "the queue is full already"
        if not waits(case)
        else "supply is below demand: a deeper buffer only empties later"
    )
    return Knob(name="prefetch_factor", now=now, best=now, gain=NOTHING, sentence=why)


def _pin(case: Case) -> Knob:
    now = str(case.plan.pin_memory)
    if case.trace.device == "cpu":
        why = (
            "no accelerator was in use, and without one it does nothing; with one, it helps only "
            "together with .to(device, non_blocking=True)"
        )
        return Knob(name="pin_memory", now=now, best="False", gain=NOTHING, sentence=why)
    if case.plan.pin_memory:
        why = "keep it; it only pays where the loop copies with .to(device, non_blocking=True)"
        return Knob(name="pin_memory", now=now, best=now, gain=NOTHING, sentence=why)
    copy_s = (case.stats.payload_bytes or 0.0) / UNPINNED_BYTES_PER_S
    most = 1 / (1 - min(0.9, copy_s / case.stats.period_s.value))
    why = "at most, and only with .to(device, non_blocking=True) in the loop"
    gain = Estimate(value=1 + (most - 1) / 2, low=1.0, high=most)
    return Knob(name="pin_memory", now=now, best="True", gain=gain, sentence=why)


def _persistent(case: Case) -> Knob:
    plan = case.plan
    now = str(plan.persistent)
    if plan.workers == 0:
        why = "it has no meaning without workers"
        return Knob(name="persistent_workers", now=now, best=now, gain=NOTHING, sentence=why)
    kept = forecast(case, msgspec.structs.replace(plan, persistent=True))
    if plan.persistent or kept is None:
        why = "workers are kept already" if plan.persistent else "only one epoch was seen to start"
        return Knob(name="persistent_workers", now=now, best=now, gain=NOTHING, sentence=why)
    why = f"starting workers takes {share(respawn_share(case))} of an epoch"
    best = "True" if kept.gain.value > 1.01 else now
    return Knob(name="persistent_workers", now=now, best=best, gain=kept.gain, sentence=why)


def _at_most_one(gain: Estimate) -> Estimate:
    """No gain is promised where none is the answer."""
    return Estimate(value=min(1.0, gain.value), low=min(1.0, gain.low), high=min(1.0, gain.high))
