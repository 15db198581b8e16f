"""From one plan to a neighbour: more where there is a wait, less where workers are idle. Pure.

in the trainer's process ◄──► few workers ◄──► more of them, threads, further ahead
"""

from math import ceil

from msgspec.structs import replace

from wellfed._tuner.window import Bounds, Window, allowed_workers
from wellfed.records import Plan
from wellfed.records._record import Record
from wellfed.records.amounts import duration

__all__ = ["Move", "fewer", "more", "most_workers", "out_of_reach"]

# Below this share of their time on batches, workers are not what is waited for.
BUSY_SHARE = 0.6

# Workers that are given back leave the others this busy at most, so that a slow batch is no stall.
LEFT_BUSY_SHARE = 0.7

# Data that is waited for: this share of a batch's time is not on a CPU.
WAITING_SHARE = 0.5

# With the CPUs as short as that, more workers take from each other, and from the step.
PRESSED_SHARE, THROTTLED_SHARE = 0.5, 0.1

# Supply above demand, so that small variations do not show.
RESERVE = 1.1


class Move(Record, frozen=True, kw_only=True):
    """A change of one thing."""

    kind: str
    """workers, threads, prefetch, fewer, processes or inline."""
    plan: Plan
    gain_s: float
    """Seconds per batch that it is expected to save."""
    why: str


def most_workers(bounds: Bounds, window: Window) -> int:
    """Workers that are of use and allowed: one a CPU, and more where they mostly wait for data."""
    cap = allowed_workers(bounds, window)
    if window.fetch_s and window.cpu_s:
        on_cpu = max(min(1.0, window.cpu_s / window.fetch_s), 0.01)
        cap = min(cap, ceil(bounds.cpus / on_cpu))
    return max(1, cap)


def more(plan: Plan, window: Window, bounds: Bounds) -> list[Move]:
    """What may shorten the wait, the most promising first."""
    if not plan.workers:
        moves = [_processes(plan, window, bounds)]
    else:
        moves = [_threads(plan, window, bounds), _workers(plan, window, bounds)]
        moves += [_prefetch(plan, window, bounds), _inline(plan, window, bounds)]
    # Where handing over is what is waited for, more of the same is no remedy.
    return sorted(
        (one for one in moves if one is not None),
        key=lambda one: (one.kind != "inline", -one.gain_s),
    )


def _processes(plan: Plan, window: Window, bounds: Bounds) -> Move | None:
    """From the trainer's process to workers."""
    making_s = window.fetch_s
    if "processes" not in bounds.backends or not making_s or making_s <= bounds.inline_s:
        return None
    most = wanted = most_workers(bounds, window)
    if window.demand_s:
        wanted = min(most, ceil(making_s / window.demand_s * RESERVE))
    then_s = max(window.gap_s, making_s / wanted) + bounds.inline_s
    if then_s >= window.period_s:
        return None
    return Move(
        kind="processes",
        plan=replace(plan, backend="processes", workers=wanted, prefetch=plan.prefetch or 2),
        gain_s=window.period_s - then_s,
        why=f"{_waits(window)}; a batch takes the trainer {duration(making_s)}",
    )


def _inline(plan: Plan, window: Window, bounds: Bounds) -> Move | None:
    """From workers back to the trainer's process."""
    making_s = window.fetch_s
    if "inline" not in bounds.backends or bounds.why_fixed or making_s is None:
        return None
    gain_s = window.period_s - window.gap_s - making_s
    if making_s > bounds.inline_s or gain_s <= 0:
        return None
    return Move(
        kind="inline",
        plan=replace(
            plan, backend="inline", workers=0, threads=0, prefetch=None, start_method=None
        ),
        gain_s=gain_s,
        why=f"{_waits(window)}, and making a batch takes only {duration(making_s)}",
    )


def _workers(plan: Plan, window: Window, bounds: Bounds) -> Move | None:
    busy = window.busy_share
    if bounds.why_fixed or not window.fetch_s or (busy is not None and busy < BUSY_SHARE):
        return None
    if _short_of_cpu(window):
        return None
    # Workers that share what they have do not add up: at most twice as many at a time.
    wanted = plan.workers * 2
    if window.demand_s:
        wanted = min(wanted, ceil(window.fetch_s / window.demand_s * RESERVE))
    wanted = min(max(plan.workers + 1, wanted), most_workers(bounds, window))
    if wanted <= plan.workers:
        return None
    gain_s = window.fetch_s / plan.workers - window.fetch_s / wanted
    return Move(
        kind="workers",
        plan=replace(plan, workers=wanted),
        gain_s=min(gain_s, window.wait_s / window.batches),
        why=f"{_waits(window)}; a batch takes a worker {duration(window.fetch_s)}",
    )


def _short_of_cpu(window: Window) -> str:
    """How short CPUs are that workers need, in a clause; "" if they are not."""
    if not window.fetch_s or (window.cpu_s or 0.0) < WAITING_SHARE * window.fetch_s:
        return ""
    if (window.throttled_share or 0.0) > THROTTLED_SHARE:
        return f"the CPU quota runs out in {window.throttled_share:.0%} of the periods"
    if (window.pressure_share or 0.0) > PRESSED_SHARE:
        return f"tasks wait for a CPU {window.pressure_share:.0%} of the time"
    return ""


def _threads(plan: Plan, window: Window, bounds: Bounds) -> Move | None:
    if bounds.why_fixed or not bounds.most_threads or not window.fetch_s or plan.threads:
        return None
    on_cpu = (window.cpu_s or 0.0) / window.fetch_s
    if window.cpu_s is None or 1 - on_cpu < WAITING_SHARE:
        return None
    threads = max(2, min(bounds.most_threads, round(1 / max(on_cpu, 1 / bounds.most_threads))))
    gain_s = window.fetch_s / plan.workers * (1 - 1 / threads)
    return Move(
        kind="threads",
        plan=replace(plan, threads=threads),
        gain_s=min(gain_s, window.wait_s / window.batches),
        why=f"{_waits(window)}; {1 - on_cpu:.0%} of a batch's time is not on a CPU",
    )


def _prefetch(plan: Plan, window: Window, bounds: Bounds) -> Move | None:
    ahead = plan.prefetch or 2
    busy = window.busy_share
    if bounds.why_read_so or busy is None or busy > 0.95 or ahead >= bounds.most_prefetch:
        return None
    return Move(
        kind="prefetch",
        plan=replace(plan, prefetch=min(2 * ahead, bounds.most_prefetch)),
        gain_s=window.wait_s / window.batches * (1 - busy),
        why=f"{_waits(window)}, while workers are busy {busy:.0%} of theirs: batches vary",
    )


def fewer(plan: Plan, window: Window, bounds: Bounds) -> Move | None:
    """Fewer workers that still keep up; None if that is not clear."""
    busy = window.busy_share
    if bounds.why_fixed or busy is None or plan.workers < 2:
        return None
    wanted = max(1, ceil(plan.workers * busy / LEFT_BUSY_SHARE))
    if wanted >= plan.workers:
        return None
    return Move(
        kind="fewer",
        plan=replace(plan, workers=wanted),
        gain_s=0.0,
        why=f"the step sets the pace, and workers are busy {busy:.0%} of their time",
    )


def out_of_reach(plan: Plan, window: Window, bounds: Bounds) -> str:
    """Why nothing is done although the consumer waits, in a sentence; "" if nothing is known."""
    waits = _waits(window)
    if not plan.workers:
        return ""
    reasons = []
    if bounds.why_fixed:
        reasons.append(f"the number of workers stays: {bounds.why_fixed}")
    elif pressed := _short_of_cpu(window):
        reasons.append(pressed)
    elif plan.workers >= most_workers(bounds, window):
        short = "for this rank's CPUs and memory"
        reasons.append(f"{plan.workers} workers are the most {short}")
    if bounds.why_read_so and (window.busy_share or 1.0) <= 0.95:
        reasons.append(f"prefetch stays: {bounds.why_read_so}")
    return f"{waits}, but {'; '.join(reasons)}" if reasons else ""


def _waits(window: Window) -> str:
    return f"{window.wait_share:.0%} of the time is spent waiting"
