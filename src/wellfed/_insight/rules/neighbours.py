"""Others take the cores: processes that are not the run's own."""

from wellfed._insight.estimate import scale
from wellfed._insight.rules.cpu import QUEUED
from wellfed._insight.rules.say import cpu_evidence, waiting
from wellfed._insight.supply import (
    SIGNIFICANT,
    busy_cores,
    lost_share,
    neighbour_cores,
    usable_cores,
    waits,
)
from wellfed.records import Case, Evidence, Finding, Remedy
from wellfed.records.amounts import share

__all__ = ["noisy_neighbour"]

# Below a quarter of the usable cores, neighbours leave room that a worker finds.
MANY = 0.25

# A hypervisor that takes one core second in twenty away shows in every timing.
STOLEN = 0.05


def noisy_neighbour(case: Case) -> Finding | None:
    """WF207: makers are ready and have no core, because other processes are on it."""
    stats = case.stats
    near, cores = neighbour_cores(case), usable_cores(case)
    stolen = stats.gauges.get("steal_share", 0.0)
    if not waits(case) or stats.maker_queue_share < QUEUED:
        return None
    if near < MANY * cores and stolen < STOLEN:
        return None
    # What our own processes queue for among themselves is not the neighbours' doing; where there
    # is a core for each of ours, all of it is.
    crowded = case.plan.workers + 1 > cores
    theirs = max(near / max(1e-9, near + busy_cores(case)), stolen) if crowded else 1.0
    cost = scale(lost_share(case), min(1.0, theirs * stats.maker_queue_share))
    if cost.value < SIGNIFICANT:
        return None
    others = f"Other processes keep {near:.1f} of {cores:g} usable cores busy"
    if stolen >= STOLEN:
        others += f" and the hypervisor takes {share(stolen)}"
    return Finding(
        code="WF207",
        name="noisy_neighbour",
        sentence=(
            f"{others}: what makes your batches is ready to run and has no core "
            f"{share(stats.maker_queue_share)} of the time. It is not this script's doing."
        ),
        evidence=(
            waiting(case),
            Evidence(text=f"{near:.1f} of {cores:g} usable cores busy with others", value=near),
            cpu_evidence(case),
            Evidence(text=f"stolen by the hypervisor {share(stolen)}", value=stolen),
        ),
        cost_share=cost,
        remedies=(
            Remedy(
                change="run when the machine is free, or ask for cores of your own "
                "(taskset, cpuset, --exclusive)",
                why="no setting of the loader gives a core that another process holds",
            ),
            Remedy(
                change="wellfed diagnose again then",
                why="what limits the loader on free cores may be something else",
            ),
        ),
    )
