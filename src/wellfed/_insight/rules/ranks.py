"""Several ranks share a machine, or wait for one of them."""

import msgspec

from wellfed._insight.ranks import straggler
from wellfed._insight.rules.cpu import QUEUED
from wellfed._insight.rules.samples import cheaper_samples
from wellfed._insight.rules.say import cpu_evidence, other_streams, waiting
from wellfed._insight.supply import computes, lost_share, usable_cores, waits
from wellfed.records import Case, Estimate, Evidence, Finding, Remedy
from wellfed.records.amounts import duration, share

__all__ = ["rank_oversubscription", "rank_straggler"]

# A tenth of every step of every rank: below, ranks differ by as much without a cause.
LATE = 0.10

# Its longer waiting must explain so much of what the others wait for it, or it is slow for
# another reason.
EXPLAINS = 0.8


def rank_oversubscription(case: Case) -> Finding | None:
    """WF206: the workers of all ranks on this machine are more than its cores."""
    trace, workers = case.trace, case.plan.workers
    local, cores = trace.local_world, usable_cores(case) * trace.local_world
    if local < 2 or not workers or not waits(case) or not computes(case):
        return None
    everybody = local * (1 + workers)
    fit = max(1, int(cores - local) // local)
    if everybody <= cores or fit >= workers or case.stats.maker_queue_share < QUEUED:
        return None
    plan = msgspec.structs.replace(case.plan, workers=fit)
    change = f"num_workers={fit}  # in each of {local} ranks"
    why = f"({cores:g} cores - {local} ranks) / {local} ranks"
    return Finding(
        code="WF206",
        name="rank_oversubscription",
        sentence=(
            f"{local} ranks with {workers} workers each are {everybody} processes on {cores:g} "
            f"usable cores; a worker is ready without a core "
            f"{share(case.stats.maker_queue_share)} of its time."
        ),
        evidence=(
            waiting(case),
            cpu_evidence(case),
            Evidence(text=f"{everybody} processes on {cores:g} cores", value=float(everybody)),
            *_busy_of_ranks(case),
        ),
        cost_share=lost_share(case),
        remedies=(
            # All ranks would change together, and the model knows this one only: no gain is told.
            Remedy(change=change, why=why, plan=plan, reproducibility=other_streams(case)),
            cheaper_samples(case),
            Remedy(
                change=f"--cpus-per-task={local * (workers + 1)} or fewer ranks on this machine",
                why="each rank needs a core for itself and one for each busy worker",
            ),
        ),
    )


def rank_straggler(case: Case) -> Finding | None:
    """WF503: one rank waits for its data, and all others wait for it."""
    found = straggler(case.trace.ranks)
    if found is None or not found.rank.period_s:
        return None
    excess_s, gap_s = found.excess_s, found.gap_s
    cost = min(excess_s, gap_s) / found.rank.period_s
    if cost < LATE or excess_s < EXPLAINS * gap_s:
        return None
    slow = found.rank
    return Finding(
        code="WF503",
        name="rank_straggler",
        sentence=(
            f"Rank {slow.rank} waits {duration(slow.wait_s)} a step for its data and the others "
            f"{duration(found.others_wait_s)}; they wait for it in their steps, "
            f"{duration(gap_s)} of each {duration(slow.period_s)}."
        ),
        evidence=(
            *(
                Evidence(
                    text=f"rank {one.rank} waits {duration(one.wait_s)}, steps "
                    f"{duration(one.step_s)}",
                    value=one.wait_s,
                )
                for one in case.trace.ranks[:8]
            ),
            Evidence(
                text=f"rank {slow.rank}'s workers ready without a core {share(slow.queue_share)}",
                value=slow.queue_share,
            ),
        ),
        cost_share=Estimate(value=cost, low=0.8 * cost, high=min(1.0, 1.2 * cost)),
        remedies=(
            Remedy(
                change=f"look at rank {slow.rank}: wellfed diagnose on it alone, its shards, its "
                "disk, its cores",
                why="what the others do does not matter as long as it is late",
                gain=Estimate(value=1 / (1 - cost), low=1.0, high=1 / (1 - min(0.99, 1.2 * cost))),
            ),
            Remedy(
                change="give every rank as much to load: equal shards, lengths dealt out evenly",
                why="swap two ranks' shards: if the slow one moves with them, it is the data",
                reproducibility="changes which rank gets which samples",
            ),
        ),
    )


def _busy_of_ranks(case: Case) -> tuple[Evidence, ...]:
    ranks = case.trace.ranks
    if not ranks:
        return ()
    busy = sum(one.busy_cores for one in ranks)
    return (Evidence(text=f"{len(ranks)} ranks keep {busy:.1f} cores busy", value=busy),)
