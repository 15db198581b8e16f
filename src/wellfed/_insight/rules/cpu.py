"""Making batches is computing, and too little CPU reaches it: five ways that can be."""

import msgspec

from wellfed._insight.rules.samples import cheaper_samples, sample_evidence
from wellfed._insight.rules.say import cpu_evidence, more_workers, waiting, with_plan
from wellfed._insight.supply import (
    best_workers,
    busy_cores,
    computes,
    forecast,
    free_cores,
    lost_share,
    makers_set_the_pace,
    neighbour_cores,
    stage_s,
    usable_cores,
    waits,
)
from wellfed.records import Case, Evidence, Finding, Remedy
from wellfed.records.amounts import duration, share

__all__ = [
    "affinity_pinned",
    "cpu_quota",
    "cpu_saturated",
    "cpu_underprovisioned",
    "thread_oversubscription",
]

# A worker that is ready to run but has no core for a tenth of its time is short of cores; idle
# machines show 0 to 2 %.
QUEUED = 0.10

# Below this many seconds a sample, per-sample Python outweighs the work: see per_item_overhead.
TINY_SAMPLE_S = 50e-6


def cpu_underprovisioned(case: Case) -> Finding | None:
    """WF201: samples cost CPU, cores are free, and more workers would use them."""
    if not _computing_is_the_limit(case) or not _more_workers_help(case):
        return None
    now = case.plan.workers
    doing = f"{now} workers make" if now > 1 else "one worker makes"
    who = doing if now else "the trainer itself makes"
    return Finding(
        code="WF201",
        name="cpu_underprovisioned",
        sentence=(
            f"Making a batch costs {duration(_cpu_s(case))} of CPU and {who} all of them, while "
            f"{free_cores(case):.1f} of {usable_cores(case):g} usable cores stand idle."
        ),
        evidence=(
            waiting(case),
            cpu_evidence(case),
            _cores(case),
            *sample_evidence(case),
            *_storage_evidence(case),
        ),
        cost_share=lost_share(case),
        remedies=(
            *more_workers(case, "cores are free and samples are made of CPU time"),
            cheaper_samples(case),
            *_more_threads(case),
        ),
    )


def cpu_saturated(case: Case) -> Finding | None:
    """WF202: samples cost CPU, and the usable cores are all busy: more workers cannot help."""
    if not _computing_is_the_limit(case) or _is_tiny(case):
        return None
    if _more_workers_help(case):
        return None
    near = neighbour_cores(case)
    busy = busy_cores(case) + near
    if busy < 0.75 * usable_cores(case) and case.stats.maker_queue_share < QUEUED:
        return None
    return Finding(
        code="WF202",
        name="cpu_saturated",
        sentence=(
            f"{busy:.1f} of {usable_cores(case):g} usable cores are busy"
            + (f", {near:.1f} of them with other people's processes" if near >= 0.1 else "")
            + f"; a batch costs {duration(_cpu_s(case))} of CPU, and no number of workers makes it "
            "cheaper."
        ),
        evidence=(
            waiting(case),
            cpu_evidence(case),
            _cores(case),
            *sample_evidence(case),
        ),
        cost_share=lost_share(case),
        remedies=(cheaper_samples(case), *more_workers(case, "as fits the cores")),
    )


def cpu_quota(case: Case) -> Finding | None:
    """WF203: a cgroup quota throttles the process, though the machine shows more CPUs."""
    quota, shown = case.machine.cpus_quota.value, case.machine.cpus_affinity.value
    throttled = case.stats.gauges.get("throttled_periods_share", 0.0)
    if quota is None or throttled < 0.05 or not waits(case):
        return None
    if shown is not None and quota >= shown:
        return None
    processes = int(max(1, quota))
    fewer = forecast(case, msgspec.structs.replace(case.plan, workers=processes))
    if fewer is not None and (case.plan.workers <= processes or fewer.gain.value < 1.02):
        fewer = None
    return Finding(
        code="WF203",
        name="cpu_quota",
        sentence=(
            f"A quota allows {quota:g} CPUs of the {shown or '?'} that the machine shows, and it "
            f"stopped this process in {share(throttled)} of its periods."
        ),
        evidence=(
            waiting(case),
            Evidence(text=f"throttled in {share(throttled)} of periods", value=throttled),
            cpu_evidence(case),
            _cores(case),
        ),
        cost_share=lost_share(case),
        remedies=(
            Remedy(
                change=f"raise the CPU limit above {quota:g} (cpus, limits.cpu, --cpus-per-task)",
                why="the host's other cores are out of reach",
            ),
            *(
                (with_plan(fewer, f"num_workers={processes}", "no more than the quota feeds"),)
                if fewer is not None
                else ()
            ),
            cheaper_samples(case),
        ),
    )


def thread_oversubscription(case: Case) -> Finding | None:
    """WF204: libraries run threads of their own in every worker, more than there are cores."""
    stats, plan = case.stats, case.plan
    if plan.workers == 0 or not waits(case) or stats.native_cpu_share < 0.25:
        return None
    if not computes(case):  # a thread that is seldom on a core crowds nobody, whatever its part
        return None
    wanted = plan.workers * (1 + stats.native_cpu_share)
    crowded = stats.maker_queue_share >= QUEUED or stats.preemptions_per_batch >= 10
    if wanted < 1.2 * usable_cores(case) and not crowded:
        return None
    threads = f"{stats.threads:.0f} threads" if stats.threads is not None else "threads"
    return Finding(
        code="WF204",
        name="thread_oversubscription",
        sentence=(
            f"A worker runs {threads}, and those besides its own use {stats.native_cpu_share:.1f} "
            f"times its CPU time again: {plan.workers} workers keep {wanted:.1f} threads running "
            f"on {usable_cores(case):g} cores."
        ),
        evidence=(
            waiting(case),
            Evidence(
                text=f"other threads' CPU over the worker's own {stats.native_cpu_share:.2f}",
                value=stats.native_cpu_share,
            ),
            Evidence(
                text=f"{stats.preemptions_per_batch:.0f} involuntary switches a batch",
                value=stats.preemptions_per_batch,
            ),
            cpu_evidence(case),
        ),
        cost_share=lost_share(case),
        remedies=(
            Remedy(
                change="OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python ...",
                why="one thread a worker: the workers are the parallelism",
            ),
            Remedy(
                change="cv2.setNumThreads(0); torch.set_num_threads(1)  # first in the dataset",
                why="for libraries that set their threads themselves",
            ),
        ),
    )


def affinity_pinned(case: Case) -> Finding | None:
    """WF205: the workers may run on fewer cores than the trainer may."""
    allowed, all_cores = case.stats.allowed_cpus, case.machine.cpus_affinity.value
    workers = case.plan.workers
    if allowed is None or all_cores is None or workers < 2 or allowed >= min(workers, all_cores):
        return None
    if not waits(case) or case.stats.maker_queue_share < QUEUED:
        return None
    return Finding(
        code="WF205",
        name="affinity_pinned",
        sentence=(
            f"{workers} workers share {allowed} core{'s' if allowed > 1 else ''}, though this "
            f"process may use {all_cores}: something set their affinity."
        ),
        evidence=(
            waiting(case),
            Evidence(text=f"workers may use {allowed} of {all_cores} CPUs", value=float(allowed)),
            cpu_evidence(case),
        ),
        cost_share=lost_share(case),
        remedies=(
            Remedy(
                change="def worker_init_fn(_): os.sched_setaffinity(0, CPUS)",
                why="with CPUS = os.sched_getaffinity(0) in the trainer, before what pins them",
            ),
            Remedy(
                change="KMP_AFFINITY=none, and GOMP_CPU_AFFINITY unset",
                why="OpenMP runtimes pin the process that loads them, and forks inherit it",
            ),
        ),
    )


def _computing_is_the_limit(case: Case) -> bool:
    if not waits(case) or not computes(case):
        return False
    return makers_set_the_pace(case)


def _more_workers_help(case: Case) -> bool:
    """Whether the model expects more workers to be worth a change, and surely not a loss."""
    best = best_workers(case)
    if best is None or best.plan.workers <= case.plan.workers:
        return False
    # Where the model fits badly its interval is wide; cores that stand idle speak for themselves.
    return best.gain.value >= 1.05 and (best.gain.low >= 1.02 or free_cores(case) >= 0.5)


def _more_threads(case: Case) -> tuple[Remedy, ...]:
    """Threads within a worker, which torch sets to one: where few workers leave many cores."""
    threads, workers = case.machine.threads_intra_op.value or 1, case.plan.workers
    if not workers or threads < 2 or case.stats.native_cpu_share >= 0.05:
        return ()
    each = int(usable_cores(case) // (workers + 1))
    if each < 2 or free_cores(case) < 1:
        return ()
    return (
        Remedy(
            change=f"torch.set_num_threads({each}) in worker_init_fn, where samples are large "
            "tensor operations",
            why=f"torch gives each worker one thread; the trainer has {threads}",
            reproducibility="sums of floats may differ in their last digits",
        ),
    )


def _is_tiny(case: Case) -> bool:
    sample_s = case.stats.sample_s
    return sample_s is not None and sample_s < TINY_SAMPLE_S


def _cpu_s(case: Case) -> float:
    fetch = case.stats.stages.get("fetch")
    own = (fetch.cpu_s if fetch is not None else None) or stage_s(case, "fetch")
    return own * (1 + case.stats.native_cpu_share)


def _cores(case: Case) -> Evidence:
    busy = busy_cores(case)
    near = neighbour_cores(case)
    text = f"{busy:.1f} of {usable_cores(case):g} usable cores busy"
    return Evidence(text=text + (f", {near:.1f} by others" if near >= 0.1 else ""), value=busy)


def _storage_evidence(case: Case) -> tuple[Evidence, ...]:
    read = case.stats.read_bytes_per_batch
    if read is None or not case.stats.read_chars_per_batch:
        return ()
    per_s = read / case.stats.period_s.value
    text = "read 0 MB/s from storage (cached)" if per_s < 1e5 else f"read {per_s / 1e6:.0f} MB/s"
    return (Evidence(text=text, value=per_s),)
