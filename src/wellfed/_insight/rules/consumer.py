"""The model or the loop itself is the limit: there is nothing to fix in the loader."""

from wellfed._insight.rules.say import waiting
from wellfed._insight.supply import LITTLE, SIGNIFICANT, lost_share, respawn_share
from wellfed.records import Case, Evidence, Finding, Remedy
from wellfed.records.amounts import duration, share

__all__ = ["consumer_bound"]

# A loop that launches work for a device and waits for it keeps its core busy only in part.
ONE_CORE = 0.9
# Full collections of garbage that take more than this are worth a line: others do not show.
GARBAGE = 0.02


def consumer_bound(case: Case) -> Finding | None:
    """WF101: the loader keeps up; a perfect one would gain next to nothing."""
    stats, lost = case.stats, lost_share(case)
    if lost.value >= LITTLE or respawn_share(case) >= SIGNIFICANT:
        return None
    # On a device the step goes on while the trainer waits: it is all that data did not stop.
    step_s = stats.period_s.value * (1 - lost.value)
    most = lost.value / (1 - lost.value) if lost.value < 1 else 0.0
    evidence = [waiting(case)]
    if stats.ready is not None and case.plan.workers:
        evidence.append(
            Evidence(
                text=f"{stats.ready:.1f} of at most {case.plan.depth} batches ready when asked",
                value=stats.ready,
            )
        )
    if stats.device_stall_share is not None:
        evidence.append(
            Evidence(
                text=f"the device stood idle {share(stats.device_stall_share)} of the time",
                value=stats.device_stall_share,
            )
        )
    loop = _loop_computes(case)
    if loop:
        evidence.append(
            Evidence(
                text=f"the loop itself keeps {stats.step_cpu_cores or 0.0:.1f} cores busy",
                value=stats.step_cpu_cores,
            )
        )
    edge, garbage = _first_batches(case), _garbage(case)
    return Finding(
        code="WF101",
        name="consumer_bound",
        sentence=(
            f"Your own step takes {duration(step_s)} of every {duration(stats.period_s.value)}; "
            f"a perfect loader would gain at most {share(most)}."
        ),
        evidence=(*evidence, *(one[0] for one in (edge, garbage) if one)),
        cost_share=lost,
        remedies=(
            Remedy(
                change="leave the loader as it is",
                why="look at the model, the optimiser or the batch size instead",
            ),
            *(
                (
                    Remedy(
                        change="move CPU work of the loop (.float(), normalising, logging) into "
                        "collate_fn or onto the device",
                        why="the device waits for it, and the workers have time to spare",
                    ),
                )
                if loop
                else ()
            ),
            *(one[1] for one in (edge, garbage) if one),
        ),
    )


def _first_batches(case: Case) -> tuple[Evidence, Remedy] | None:
    """The wait for each epoch's first batch, which no worker hides."""
    startup, epoch_s = case.stats.startup_s, case.stats.epoch_s
    if startup is None or not epoch_s or startup.value < SIGNIFICANT * epoch_s:
        return None
    part = min(1.0, startup.value / epoch_s)
    return (
        Evidence(
            text=f"each epoch waits {duration(startup.value)} for its first batch, {share(part)} "
            "of it",
            value=startup.value,
            low=startup.low,
            high=startup.high,
        ),
        Remedy(
            change="smaller batches in the loader, or longer epochs",
            why="the first batch takes as long as a batch takes; nothing hides it",
            reproducibility="changes which samples meet in a batch, unless joined in the loop",
        ),
    )


def _garbage(case: Case) -> tuple[Evidence, Remedy] | None:
    """Full collections of Python's garbage in the trainer's process."""
    took_s = sum(epoch.gc_ns for epoch in case.trace.epochs) * 1e-9
    runs = sum(epoch.gc_runs for epoch in case.trace.epochs)
    part = took_s / case.ledger.wall_s if case.ledger.wall_s else 0.0
    if part < GARBAGE:
        return None
    return (
        Evidence(
            text=f"{runs} full garbage collections took {share(part)} of the time", value=part
        ),
        Remedy(
            change="gc.collect(); gc.freeze()  # once all is set up",
            why="the collector then no longer walks through what stays for good",
        ),
    )


def _loop_computes(case: Case) -> bool:
    """Whether the loop computes without pause beside its device; without one that is the model."""
    cores = case.stats.step_cpu_cores
    return case.trace.device != "cpu" and cores is not None and cores >= ONE_CORE
