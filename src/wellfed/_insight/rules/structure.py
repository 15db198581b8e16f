"""How the work is dealt out: workers that get none, samplers that are slow, caches that end."""

from collections import defaultdict

import msgspec

from wellfed._insight.estimate import scale
from wellfed._insight.rules.say import of_gain, samples_s, waiting
from wellfed._insight.supply import (
    SIGNIFICANT,
    active_workers,
    computes,
    lost_share,
    respawn_share,
    stage_s,
    usable_cores,
    waits,
)
from wellfed.records import Case, Estimate, Evidence, Finding, Look, Remedy
from wellfed.records.amounts import duration, share

__all__ = ["cache_lost", "idle_workers", "sampler_bound", "too_few_shards"]

# An entry for every second sample: half of them may be repeats, as with sampling with replacement.
ENTRIES_PER_SAMPLE = 0.5
# Fewer samples than this a worker do not tell a cache from a table that is set up once.
FEWEST_CACHED = 16


def idle_workers(case: Case) -> Finding | None:
    """WF603: an epoch has fewer batches than there are workers, so that some get none."""
    plan, epoch_s = case.plan, case.stats.epoch_s
    batches = _batches_of_an_epoch(case)
    if case.workload.style != "map" or batches is None or not 0 < batches < plan.workers:
        return None
    if epoch_s is None:
        return None
    idle = plan.workers - batches
    # Work that is computed gains nothing from workers beyond the cores.
    most = usable_cores(case) if computes(case) else plan.workers
    now, then = min(batches, most), min(plan.workers, most)
    saved_s = batches * stage_s(case, "fetch") * (1 / now - 1 / then)
    cost = min(0.95, saved_s / epoch_s + respawn_share(case) * idle / plan.workers)
    if cost < SIGNIFICANT:
        return None
    smaller = -(-(case.workload.batch_size or 0) * batches // plan.workers)
    gain = 1 / (1 - cost)
    return Finding(
        code="WF603",
        name="idle_workers",
        sentence=(
            f"An epoch has {batches} batches and there are {plan.workers} workers: each batch is "
            f"made by one of them, so {idle} get nothing to do."
        ),
        evidence=(
            Evidence(text=f"{batches} batches in an epoch of {duration(epoch_s)}", value=batches),
            Evidence(text=f"a batch takes {duration(stage_s(case, 'fetch'))} of one worker"),
            Evidence(text=f"{share(cost)} of the epoch would go", value=cost),
        ),
        cost_share=Estimate(value=cost, low=0.7 * cost, high=min(1.0, 1.2 * cost)),
        remedies=(
            Remedy(
                change=f"batch_size={max(1, smaller)} in the loader, join them in the loop"
                if smaller
                else "smaller batches in the loader, join them in the loop",
                why="every worker then makes a part of what one made alone",
                gain=Estimate(value=gain, low=1 + 0.5 * (gain - 1), high=1.1 * gain),
                reproducibility="the same samples in the same order, if joined in order",
            ),
            Remedy(
                change=f"num_workers={batches}",
                why="as fast as now, without the workers that do nothing",
                plan=msgspec.structs.replace(plan, workers=batches),
                memory_bytes=-int(idle * _worker_bytes(case)),
            ),
        ),
    )


def too_few_shards(case: Case) -> Finding | None:
    """WF604: some workers of an iterable dataset end at once: the data has fewer parts."""
    plan = case.plan
    if case.workload.style != "iterable" or plan.workers < 2 or not waits(case):
        return None
    active = active_workers(case)
    if active is None or not 0 < active < plan.workers:
        return None
    wait_s = case.stats.period_s.value * lost_share(case).value
    return Finding(
        code="WF604",
        name="too_few_shards",
        sentence=(
            f"Only {active} of {plan.workers} workers deliver anything: the dataset shares itself "
            f"out in {active} {'part' if active == 1 else 'parts'}, and the other workers end at "
            "once."
        ),
        evidence=(
            waiting(case),
            Evidence(text=f"batches from {active} of {plan.workers} workers", value=active),
        ),
        # With as many parts as one likes, workers can be added until nothing waits.
        cost_share=lost_share(case),
        remedies=(
            Remedy(
                change=f"split the data into {plan.workers} shards or more, a multiple of that",
                why="then every worker has a part to read",
                gain=of_gain(case, wait_s * (1 - active / plan.workers)),
                reproducibility="the samples come in another order",
            ),
            Remedy(
                change=f"num_workers={active}",
                why="as fast as now, without the workers that do nothing",
                plan=msgspec.structs.replace(plan, workers=active),
                memory_bytes=-int((plan.workers - active) * _worker_bytes(case)),
            ),
        ),
    )


def sampler_bound(case: Case) -> Finding | None:
    """WF605: choosing the samples takes a good part of the trainer's own time."""
    spans, wall_s = case.trace.spans, case.ledger.wall_s
    chosen_s = sum(span.sampler_ns for span in spans) * 1e-9
    cost = min(0.95, chosen_s / wall_s) if wall_s else 0.0
    if cost < SIGNIFICANT:
        return None
    first = [span.sampler_ns * 1e-9 for span in spans if span.number == 0]
    each_s = stage_s(case, "sampler")
    order_s = max(0.0, sum(first) / len(first) - each_s) if first else 0.0
    by_epoch = order_s * len(first) > 0.5 * chosen_s
    gain = 1 / (1 - cost)
    what = (
        f"A new order takes {duration(order_s)} at the start of each epoch"
        if by_epoch
        else f"The indices of a batch take {duration(each_s)}"
    )
    return Finding(
        code="WF605",
        name="sampler_bound",
        sentence=(
            f"{what}, in the trainer's own process, where no worker can help: {share(cost)} of "
            "the time."
        ),
        evidence=(
            Evidence(text=f"{duration(chosen_s)} in the sampler of {duration(wall_s)} watched"),
            Evidence(text=f"{duration(each_s)} a batch", value=each_s),
            *([Evidence(text=f"{duration(order_s)} an epoch", value=order_s)] if by_epoch else ()),
            *([Evidence(text=case.workload.sampler)] if case.workload.sampler else ()),
        ),
        cost_share=Estimate(value=cost, low=0.9 * cost, high=min(1.0, 1.1 * cost)),
        remedies=(
            Remedy(
                change="for some in torch.randperm(n).split(65536): yield from some.tolist()",
                why="an order kept as a tensor costs little; as a list it is an object a sample",
                gain=Estimate(value=gain, low=1 + 0.5 * (gain - 1), high=gain),
            )
            if by_epoch
            else Remedy(
                change="work out the order of an epoch with NumPy, once, in the sampler's __iter__",
                why="a batch's indices are then a slice of it",
                gain=Estimate(value=gain, low=1 + 0.5 * (gain - 1), high=gain),
                reproducibility="other draws give another order",
            ),
        ),
    )


def cache_lost(case: Case) -> Finding | None:
    """WF606: workers fill a cache in the dataset, and it ends with them at the end of the epoch."""
    plan, stats = case.plan, case.stats
    respawned = sum(1 for epoch in case.trace.epochs if epoch.started_workers)
    if case.workload.style != "map" or plan.persistent or respawned < 2 or not waits(case):
        return None
    filled = _filled(case)
    if filled is None:
        return None
    name, entries = filled
    fetch_s = stage_s(case, "fetch")
    return Finding(
        code="WF606",
        name="cache_lost",
        sentence=(
            f"Each worker fills a cache of its own in the dataset ({name}, {entries} entries seen) "
            f"and ends with the epoch: in {respawned} epochs nothing was ever found in it."
        ),
        evidence=(
            waiting(case),
            Evidence(text=f"{name} grows by an entry a sample in each worker"),
            Evidence(text="and is empty when the next epoch's workers begin"),
            *(
                [Evidence(text=f"a sample takes {duration(stats.sample_s)}", value=stats.sample_s)]
                if stats.sample_s
                else ()
            ),
        ),
        # What a cache can save is the samples; they are collated and sent as before.
        cost_share=scale(lost_share(case), min(1.0, samples_s(case) / fetch_s) if fetch_s else 1.0),
        remedies=(
            Remedy(
                change="persistent_workers=True",
                why="what a worker has cached is there in the next epoch; each worker caches what "
                "it is given, so it fills over several epochs",
                plan=msgspec.structs.replace(plan, persistent=True),
                reproducibility="from the second epoch on the shuffle is another one (torch draws "
                "one seed less)",
            ),
            Remedy(
                change="fill the cache before the first epoch, as one array or tensor",
                why="forked workers share its pages; a tensor after .share_memory_() in any case",
            ),
        ),
    )


def _batches_of_an_epoch(case: Case) -> int | None:
    whole = [epoch.batches for epoch in case.trace.epochs if epoch.complete and epoch.batches]
    return max(whole, default=case.workload.batches_per_epoch)


def _filled(case: Case) -> tuple[str, int] | None:
    """The cache that grows with the samples in most processes, and its entries at the most."""
    by_process: defaultdict[int, list[Look]] = defaultdict(list)
    for look in case.trace.looks:
        by_process[look.pid].append(look)
    growing: defaultdict[str, list[int]] = defaultdict(list)
    for looks in by_process.values():
        first, last = looks[0], looks[-1]
        made = last.samples_before - first.samples_before
        for name, entries in last.entries.items():
            added = entries - first.entries.get(name, 0)
            if made >= FEWEST_CACHED and added >= ENTRIES_PER_SAMPLE * made:
                growing[name].append(entries)
    often = {
        name: max(sizes) for name, sizes in growing.items() if 2 * len(sizes) >= len(by_process)
    }
    return max(often.items(), key=lambda one: one[1], default=None)


def _worker_bytes(case: Case) -> float:
    measured = case.stats.gauges.get("workers_pss_bytes", 0.0)
    return measured / case.plan.workers if case.plan.workers else 0.0
