"""The loader keeps up, and its workers take from the step the cores that it needs."""

from wellfed._insight.rules.cpu import QUEUED
from wellfed._insight.rules.samples import cheaper_samples, sample_evidence
from wellfed._insight.rules.say import other_streams, with_plan
from wellfed._insight.supply import SIGNIFICANT, free_cores, neighbour_cores, stage_s, usable_cores
from wellfed.records import Case, Estimate, Evidence, Finding, Forecast, Remedy
from wellfed.records.amounts import duration, share

__all__ = ["interference"]


def interference(case: Case) -> Finding | None:
    """WF102: the step itself is slowed: its thread is ready and a worker has the core."""
    stats, plan = case.stats, case.plan
    queued = stats.step_queue_share
    if not plan.workers or queued is None or queued < QUEUED:
        return None
    workers, near = _worker_cores(case), neighbour_cores(case)
    # Only the workers' part of what runs in its place.
    cost = queued * (1 - stats.wait_share.value) * workers / max(1e-9, workers + near)
    if cost < SIGNIFICANT:
        return None
    step_s = stats.period_s.value * (1 - stats.wait_share.value)
    threads = case.machine.threads_intra_op.value or 1
    fewer = _fewer(case)
    left = max(1, int(usable_cores(case) - workers))
    return Finding(
        code="WF102",
        name="interference",
        sentence=(
            f"Your step of {duration(step_s)} is ready to run and has no core "
            f"{share(queued)} of that time, while workers keep {workers:.1f} of "
            f"{usable_cores(case):g} cores busy."
        ),
        evidence=(
            Evidence(text=f"step ready without a core {share(queued)}", value=queued),
            Evidence(text=f"{workers:.1f} cores busy making batches", value=workers),
            Evidence(text=f"{free_cores(case):.1f} cores free", value=free_cores(case)),
            *sample_evidence(case),
        ),
        cost_share=Estimate(value=cost, low=0.8 * cost, high=min(1.0, 1.2 * cost)),
        remedies=(
            *(
                (
                    with_plan(
                        fewer,
                        f"num_workers={fewer.plan.workers}",
                        "still enough to keep up, with fewer to run beside the step",
                        other_streams(case),
                    ),
                )
                if fewer is not None
                else ()
            ),
            cheaper_samples(case),
            *(
                (
                    Remedy(
                        change=f"torch.set_num_threads({left})  # before the loop",
                        why=f"{threads} threads of each operation wait for the one without a core",
                        reproducibility="sums of floats may differ in their last digits",
                    ),
                )
                if threads > left
                else ()
            ),
        ),
    )


def _worker_cores(case: Case) -> float:
    """Cores that making batches keeps busy."""
    fetch, period_s = case.stats.stages.get("fetch"), case.stats.period_s.value
    if fetch is None or fetch.cpu_s is None or not period_s:
        return 0.0
    return (fetch.cpu_s * (1 + case.stats.native_cpu_share) + stage_s(case, "serialise")) / period_s


def _fewer(case: Case) -> Forecast | None:
    """The fewest workers that lose nothing; None if that is not fewer than now."""
    near = [
        one
        for one in case.forecasts
        if 0 < one.plan.workers < case.plan.workers
        and one.plan.in_order == case.plan.in_order
        and one.plan.persistent == case.plan.persistent
        and one.gain.value >= 0.98
    ]
    return min(near, key=lambda one: one.plan.workers, default=None)
