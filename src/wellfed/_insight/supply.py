"""How a case is read: what the consumer loses to data, who makes the batches, which cores are left.

The rules ask these questions and no other module's; each answer is one number with its meaning.
"""

from collections import defaultdict

from wellfed._insight.estimate import scale, shift
from wellfed.records import Case, Epoch, Estimate, Forecast, Plan

__all__ = [
    "LITTLE",
    "MAKERS_BUSY",
    "MANY_BYTES",
    "SIGNIFICANT",
    "active_workers",
    "best_workers",
    "blocked_share",
    "busy_cores",
    "by_rows",
    "cache_room_bytes",
    "ceiling",
    "comes_in_time",
    "computes",
    "epoch_read_bytes",
    "forecast",
    "free_cores",
    "lost_share",
    "makers_busy_share",
    "makers_set_the_pace",
    "neighbour_cores",
    "out_of_shards",
    "release_s",
    "respawn_s",
    "respawn_share",
    "stage_s",
    "unseen_cores",
    "usable_cores",
    "waits",
    "without_workers",
]

# A loss below one part in twenty is not worth a change of settings: it is within what two runs of
# the same script differ by on a busy machine. (5 % is also where torch's own profiler begins to
# speak of the loader.)
SIGNIFICANT = 0.05

# A buffer that runs dry is what is waited for where the batch has not come most of that time.
DRY = 0.5

# Between that and this, any rule with a cause to name comes first; without one, a loss of less than
# a tenth is the price of handing batches over at all.
LITTLE = 0.10

# Below this the bytes of a batch cost less to move than its message.
MANY_BYTES = 1_000_000

# Ends the ceiling of a loop that does nothing but wait, since JSON has no infinity.
MOST_LOST = 0.999

# Makers are the limit when they fetch nearly all the time; what is missing to 1 is the time they
# wait for the next request while the trainer is in its step.
MAKERS_BUSY = 0.75

# Where supply comes in bursts, a full buffer stops makers that are too slow on average, too.
MAKERS_BUSY_IN_BURSTS = 0.6


def lost_share(case: Case) -> Estimate:
    """Share of the consumer's steady time that data cost: what free data would win, 0 to 1.

    On a device that works asynchronously it is the time the device stood idle, because a trainer
    that waits while its device is still busy loses nothing. Elsewhere it is the waiting, and what
    the loop pays to let go of batches that came in shared memory.
    """
    waited = case.stats.wait_share
    stalled = case.stats.device_stall_share
    if stalled is None:
        return shift(waited, release_s(case) / case.stats.period_s.value)
    if waited.value <= 0:
        return waited
    return scale(waited, min(1.0, stalled / waited.value))


def release_s(case: Case) -> float:
    """Seconds of each step that go to giving the memory of a batch back; 0 where it is little."""
    trial, payload = case.workload.release_s, case.stats.payload_bytes or 0.0
    if trial is None or trial.value is None or payload < MANY_BYTES:
        return 0.0
    step_s = case.stats.period_s.value * (1 - case.stats.wait_share.value)
    return min(trial.value, 0.5 * step_s)


def waits(case: Case) -> bool:
    """Whether the consumer loses enough to data to be worth a change."""
    return lost_share(case).value >= SIGNIFICANT


def stage_s(case: Case, name: str) -> float:
    """Mean wall seconds per batch of a stage; 0 where it does not exist."""
    stage = case.stats.stages.get(name)
    return stage.wall_s.value if stage is not None else 0.0


def blocked_share(case: Case) -> float:
    """Share of fetch time in which neither the fetching thread nor another of its process computed.

    A dataset that decodes in threads of its own blocks its fetching thread, and still computes.
    """
    stats = case.stats
    return max(0.0, stats.maker_off_share - stats.native_cpu_share * stats.maker_cpu_share)


def computes(case: Case) -> bool:
    """Whether making a batch is mostly computing (or queueing for a core), not being blocked."""
    return blocked_share(case) < 0.5


def by_rows(case: Case) -> bool:
    """Whether the engine reads tensors in memory row by row no more, but a batch at once."""
    work = case.workload
    return case.plan.backend == "inline" and work.in_memory and work.default_collate


def makers_busy_share(case: Case) -> float:
    """Share of the workers' time spent fetching, 0 to 1; without workers, of the waits.

    Near 1 the workers are the limit; well below it something else is.
    """
    fetch_s, period_s = stage_s(case, "fetch"), case.stats.period_s.value
    if case.plan.workers == 0:
        wait_s = period_s * case.stats.wait_share.value
        return fetch_s / wait_s if wait_s else 0.0
    if case.plan.threads and case.stats.sample_s and period_s:
        # Its batches are made beside each other: what is busy is its threads.
        sampling_s = case.stats.sample_s * (case.stats.samples_per_batch or 1.0)
        return sampling_s / (case.plan.workers * case.plan.threads * period_s)
    return fetch_s / (case.plan.workers * period_s) if period_s else 0.0


def makers_set_the_pace(case: Case) -> bool:
    """Whether batches are made more slowly than they are taken: nearly all the time is making."""
    busy = makers_busy_share(case)
    if busy >= MAKERS_BUSY or not case.plan.workers:
        return busy >= MAKERS_BUSY
    period_s, taking_s = case.stats.period_s.value, stage_s(case, "receive")
    taken_each_s = period_s * (1 - case.stats.wait_share.value) + taking_s
    return busy >= MAKERS_BUSY_IN_BURSTS and busy * period_s > taken_each_s


def usable_cores(case: Case) -> float:
    """Cores that this process may use: its part of the machine's, if ranks share it."""
    usable = float(case.machine.cpus_usable.value or case.machine.cpus_host.value or 1)
    return usable / max(1, case.trace.local_world)


def comes_in_time(case: Case) -> bool:
    """Whether the buffer hardly ever runs dry: most of what is waited for is not the batch."""
    unready = case.stats.unready_wait_share
    return case.plan.workers > 0 and unready is not None and unready < DRY


def neighbour_cores(case: Case) -> float:
    """Cores of this process's own share that other people's processes keep busy.

    Under a quota the cores beyond it are no loss; other ranks of the same run are no neighbours.
    """
    near = case.stats.gauges.get("neighbour_busy_cores", 0.0)
    near -= busy_cores(case) * (case.trace.local_world - 1)
    allowed = case.machine.cpus_affinity.value
    if allowed is not None:
        near -= allowed - float(case.machine.cpus_usable.value or allowed)
    return min(usable_cores(case), max(0.0, near))


def busy_cores(case: Case) -> float:
    """Cores that the trainer and its workers keep busy, from their own CPU clocks."""
    period_s = case.stats.period_s.value
    if not period_s:
        return 0.0
    fetch = case.stats.stages.get("fetch")
    making_s = (fetch.cpu_s or 0.0) if fetch is not None else 0.0
    making_s *= 1 + case.stats.native_cpu_share
    step_s = period_s * (1 - case.stats.wait_share.value) * (case.stats.step_cpu_cores or 0.0)
    return (making_s + step_s) / period_s


def unseen_cores(case: Case) -> float:
    """Cores kept busy by processes of the run that no span accounts for: decoders, other ranks."""
    own = case.stats.gauges.get("own_busy_cores")
    return max(0.0, own - busy_cores(case)) if own is not None else 0.0


def free_cores(case: Case) -> float:
    """Usable cores that nobody keeps busy."""
    return max(0.0, usable_cores(case) - busy_cores(case) - neighbour_cores(case))


def ceiling(case: Case) -> Estimate:
    """Speed-up of the steady step if data were free; 1: the loader costs nothing."""
    lost = lost_share(case)
    value, low, high = (1 / (1 - min(MOST_LOST, one)) for one in (lost.value, lost.low, lost.high))
    return Estimate(value=value, low=low, high=high, n=lost.n)


def respawn_s(case: Case) -> float:
    """Seconds per epoch that starting and ending workers anew costs; 0 if they are not.

    What starts anew with workers that stay, too, is the first fetch, which nothing hides.
    """
    stats, plan = case.stats, case.plan
    respawned = sum(1 for epoch in case.trace.epochs if epoch.started_workers)
    if plan.persistent or not plan.workers or respawned < 2 or stats.startup_s is None:
        return 0.0
    return max(0.0, stats.startup_s.value - stage_s(case, "fetch")) + stats.shutdown_s


def respawn_share(case: Case) -> float:
    """The same as a share of an epoch, 0 to 1."""
    epoch_s = case.stats.epoch_s
    return min(1.0, respawn_s(case) / epoch_s) if epoch_s else 0.0


def epoch_read_bytes(case: Case) -> float | None:
    """Bytes that the samples of one epoch are read from; None where that is not seen."""
    chars, batches = case.stats.read_chars_per_batch, case.workload.batches_per_epoch
    if not chars or not batches:
        return None
    return chars * batches


def cache_room_bytes(case: Case) -> float | None:
    """Memory that could hold pages of files: the tighter of the machine's and the limit's."""
    machine = case.machine
    rooms = (machine.memory_available_bytes.value, machine.memory_limit_bytes.value)
    known = [float(room) for room in rooms if room is not None]
    return min(known) if known else None


def forecast(case: Case, plan: Plan) -> Forecast | None:
    """What the model expects of `plan`; None if it was not asked."""
    return next((one for one in case.forecasts if one.plan == plan), None)


def active_workers(case: Case) -> int | None:
    """The most workers that delivered in one epoch; None if no epoch was seen for long enough.

    Batches are asked of the workers in turn, so that one which gave none of a round has ended.
    """
    enough = case.plan.depth + case.plan.workers
    seen: defaultdict[int, list[int]] = defaultdict(list)
    for span in case.trace.spans:
        seen[span.epoch].append(span.worker)
    whole: dict[int, Epoch] = {epoch.index: epoch for epoch in case.trace.epochs if epoch.complete}
    counts = [
        len(set(workers) - {-1})
        for index, workers in seen.items()
        if len(workers) >= enough or (index in whole and len(workers) == whole[index].batches)
    ]
    return max(counts, default=None)


def out_of_shards(case: Case) -> bool:
    """Whether an iterable dataset has less to share out than there are workers already."""
    active = active_workers(case)
    return case.workload.style == "iterable" and active is not None and active < case.plan.workers


def best_workers(case: Case) -> Forecast | None:
    """The fewest workers within 2 % of the best, other settings as they are; None without any.

    The plan that ran competes with a gain of 1, so the answer can be None: nothing is better. So it
    is where an iterable dataset has no shards left for more.
    """
    if out_of_shards(case):
        return None
    others = [
        one
        for one in case.forecasts
        if one.plan.workers > 0
        and one.plan.in_order == case.plan.in_order
        and one.plan.persistent == case.plan.persistent
        and one.plan.prefetch == (case.plan.prefetch or 2)
    ]
    best = max(others, key=lambda one: one.gain.value, default=None)
    if best is None or best.gain.value <= 1.02:
        return None
    near = [one for one in others if one.gain.value >= 0.98 * best.gain.value]
    return min(near, key=lambda one: one.plan.workers)


def without_workers(case: Case) -> Forecast | None:
    """What the model expects of `num_workers=0`; None if that is what ran."""
    return next((one for one in case.forecasts if one.plan.workers == 0), None)
