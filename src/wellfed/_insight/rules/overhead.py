"""Python's own cost, of a sample, a batch or handing it over, outweighs the data's."""

from wellfed._insight.estimate import divide
from wellfed._insight.rules.cpu import TINY_SAMPLE_S
from wellfed._insight.rules.say import of_gain, other_streams, samples_s, use_none, waiting
from wellfed._insight.rules.transport import many_parts, moving_s
from wellfed._insight.supply import (
    LITTLE,
    MANY_BYTES,
    best_workers,
    by_rows,
    computes,
    lost_share,
    makers_set_the_pace,
    stage_s,
    waits,
    without_workers,
)
from wellfed.records import Case, Estimate, Evidence, Finding, Remedy
from wellfed.records.amounts import duration, gain

__all__ = ["in_memory_overhead", "per_batch_overhead", "per_item_overhead"]

# Batches of so few samples are dominated by what a batch costs, whatever is in it.
FEW_SAMPLES = 8

# A whole batch fetched in less than this is next to what torch's loop and Python spend around it.
QUICK_BATCH_S = 300e-6


def in_memory_overhead(case: Case) -> Finding | None:
    """WF401: the samples are so cheap that handing them over costs more than making them."""
    alone = without_workers(case)
    if case.plan.workers == 0 or alone is None or not waits(case):
        return None
    if alone.gain.value < 1.05 or alone.gain.low < 1.0:
        return None
    if not _tiny_samples(case) and not _dearer_to_move(case):
        return None
    measured = case.workload.inline_batch_s is not None and bool(case.workload.inline_batch_s.value)
    faster = gain(alone.gain.value)
    return Finding(
        code="WF401",
        name="in_memory_overhead",
        sentence=(
            f"A batch takes {duration(_alone_s(case))} to make and {duration(moving_s(case))} to "
            f"hand over: {_workers(case)} cost you {alone.gain.value:.1f}x; use num_workers=0."
        ),
        evidence=(
            waiting(case),
            _sample(case),
            *_timed_alone(case, alone.gain),
        ),
        cost_share=_cost(alone.gain),
        remedies=(
            Remedy(
                change="num_workers=0",
                why=f"{faster}: the batch is made faster than it is handed over",
                plan=alone.plan,
                gain=alone.gain,
                measured=measured,
                memory_bytes=alone.memory_bytes,
                reproducibility=other_streams(case),
            ),
            *_by_rows(case),
        ),
    )


def per_item_overhead(case: Case) -> Finding | None:
    """WF402: no workers, and each item's Python costs more than its data; workers cost more."""
    if case.plan.workers or not waits(case) or not computes(case) or not _tiny_samples(case):
        return None
    if by_rows(case):
        return None
    best = best_workers(case)
    if best is not None and best.gain.low > 1.05 and not case.workload.in_memory:
        return None
    stats = case.stats
    worst = min(
        (one for one in case.forecasts if one.plan.workers in (1, 2)),
        key=lambda one: one.gain.value,
        default=None,
    )
    slower = 1 / worst.gain.value if worst is not None and worst.gain.value else None
    samples = stats.samples_per_batch or 1.0
    cost_each = stage_s(case, "fetch") / samples
    return Finding(
        code="WF402",
        name="per_item_overhead",
        sentence=(
            f"Each sample costs {duration(cost_each)} of Python, fetched and collated one by one, "
            f"{samples:.0f} a batch"
            + (f"; workers would cost {slower:.1f}x" if slower and slower > 1.02 else "")
            + "."
        ),
        evidence=(
            waiting(case),
            _sample(case),
            Evidence(
                text=f"collating takes {duration(stage_s(case, 'collate'))} of "
                f"{duration(stage_s(case, 'fetch'))} a batch",
                value=stage_s(case, "collate"),
            ),
            *(
                (
                    Evidence(
                        text=f"{worst.plan.workers} workers: {1 / slower:.2f}x the speed",
                        value=worst.gain.value,
                        low=worst.gain.low,
                        high=worst.gain.high,
                    ),
                )
                if worst is not None and slower
                else ()
            ),
        ),
        cost_share=lost_share(case),
        remedies=_by_rows(case) or (_getitems(case),),
    )


def per_batch_overhead(case: Case) -> Finding | None:
    """WF403: batches so small that what each costs, whatever is in it, is most of the time."""
    stats = case.stats
    samples = stats.samples_per_batch or (case.workload.batch_size if by_rows(case) else None)
    if samples is None or not waits(case) or not (computes(case) or _taking_sets_the_pace(case)):
        return None
    if not _dominated_by_batches(case, samples) or (stats.payload_bytes or 0) >= MANY_BYTES:
        return None
    fixed_s = moving_s(case) if case.plan.workers else stage_s(case, "collate") + _rest_s(case)
    # Collating grows with the samples. And while a worker collates in Python, taking the batch
    # before waits for it, which looks like a cost of handing over.
    made_s = stage_s(case, "fetch") if case.plan.workers else samples_s(case)
    made_longer = fixed_s < made_s and not _taking_sets_the_pace(case)
    if not by_rows(case) and (made_longer or many_parts(case)):
        return None
    if by_rows(case):
        fixed_s = stage_s(case, "fetch")
    factor = int(max(4, 64 // max(1, samples)))
    # With batches `factor` times as large, the fixed cost is paid once in `factor` samples.
    saved = of_gain(case, _paid_each_batch_s(case, fixed_s) * (1 - 1 / factor))
    return Finding(
        code="WF403",
        name="per_batch_overhead",
        sentence=(
            f"A batch of {samples:.0f} costs {duration(fixed_s)} whatever is in it"
            + ("." if by_rows(case) else f", and {duration(samples_s(case))} for its samples.")
        ),
        evidence=(
            waiting(case),
            Evidence(text=f"{1 / stats.period_s.value:.0f} batches a second"),
            Evidence(text=f"{samples:.0f} samples a batch", value=samples),
        ),
        cost_share=lost_share(case),
        remedies=(
            Remedy(
                change=f"batch_size={int(samples * factor)} in the loader, split it in the loop",
                why="the fixed cost is paid once for more samples",
                gain=saved,
                reproducibility="the same samples in the same order, if split in order",
            ),
            *(use_none(case) if case.plan.workers else ()),
        ),
    )


def _taking_sets_the_pace(case: Case) -> bool:
    """Whether most of the wait is unpacking batches that had come, while workers have time."""
    if lost_share(case).value < LITTLE or makers_set_the_pace(case):
        return False
    return stage_s(case, "receive") >= stage_s(case, "wait") / 2


def _dominated_by_batches(case: Case, samples: float) -> bool:
    """Few samples a batch; or whole batches fetched in one call, which takes next to nothing."""
    whole = case.stats.sample_s is None and stage_s(case, "fetch") < QUICK_BATCH_S
    return samples <= FEW_SAMPLES or whole


def _tiny_samples(case: Case) -> bool:
    """Whether a sample costs so little that Python's own work per sample shows."""
    if many_parts(case) or (case.stats.payload_bytes or 0) >= MANY_BYTES:
        return False
    sample_s = case.stats.sample_s
    if sample_s is None:
        samples = case.stats.samples_per_batch
        sample_s = samples_s(case) / samples if samples else samples_s(case)
    return sample_s < TINY_SAMPLE_S and (case.stats.samples_per_batch or 0) > FEW_SAMPLES


def _dearer_to_move(case: Case) -> bool:
    """Whether handing a batch over takes longer than making it, and not for what it holds."""
    if many_parts(case) or (case.stats.payload_bytes or 0) >= MANY_BYTES:
        return False
    few = (case.stats.samples_per_batch or 0) <= FEW_SAMPLES
    return not few and moving_s(case) > _alone_s(case)


def _alone_s(case: Case) -> float:
    """Seconds to make a batch in the trainer: by trial, or as a worker takes for its fetch."""
    trial = case.workload.inline_batch_s
    return trial.value if trial is not None and trial.value else stage_s(case, "fetch")


def _workers(case: Case) -> str:
    return f"{case.plan.workers} workers" if case.plan.workers > 1 else "the worker"


def _paid_each_batch_s(case: Case, fixed_s: float) -> float:
    """What the trainer waits for whatever is in a batch: all of it, where workers wait, too.

    Handing over is more than its timed parts: each side has to be woken for the other.
    """
    if not case.plan.workers or makers_set_the_pace(case):
        return fixed_s
    return max(fixed_s, case.stats.period_s.value * case.stats.wait_share.value)


def _rest_s(case: Case) -> float:
    """Seconds per batch inside `__next__` that are neither samples nor collate."""
    wait_s = case.stats.period_s.value * case.stats.wait_share.value
    return max(0.0, wait_s - stage_s(case, "fetch"))


def _sample(case: Case) -> Evidence:
    stats = case.stats
    each = stats.sample_s
    if each is None:
        return Evidence(text=f"fetch {duration(stage_s(case, 'fetch'))} a batch")
    return Evidence(text=f"reading a sample takes {duration(each)}", value=each)


def _timed_alone(case: Case, faster: Estimate) -> tuple[Evidence, ...]:
    """What the trial without workers showed, where there was one."""
    trial = case.workload.inline_batch_s
    if trial is None or trial.value is None:
        return ()
    text = f"without workers a batch is made in {duration(trial.value)} (timed after the run)"
    return (Evidence(text=text, value=faster.value, low=faster.low, high=faster.high),)


def _cost(faster: Estimate) -> Estimate:
    """Share of the time that a gain takes away."""
    return Estimate(
        value=max(0.0, 1 - 1 / faster.value),
        low=max(0.0, 1 - 1 / faster.low),
        high=max(0.0, 1 - 1 / faster.high),
    )


def _by_rows(case: Case) -> tuple[Remedy, ...]:
    """Fetching a batch by rows at once, where that was timed and gives the same batches."""
    rows, size = case.workload.batched_fetch_s, case.workload.batch_size
    if rows is None or rows.value is None or size is None or not case.workload.default_collate:
        return ()
    stats = case.stats
    step_s = stats.period_s.value * (1 - stats.wait_share.value)
    now, then = stats.period_s, step_s + rows.value
    return (
        Remedy(
            change=f"DataLoader(ds, sampler=BatchSampler(loader.sampler, {size}, "
            "loader.drop_last), batch_size=None)",
            why=f"a whole batch by rows takes {duration(rows.value)} (timed after the run)",
            # The trial knows the fetch within a few per cent; the step is known as measured.
            gain=divide(now, Estimate(value=then, low=0.95 * then, high=1.1 * then)),
            reproducibility="the same samples in the same order",
        ),
    )


def _getitems(case: Case) -> Remedy:
    return Remedy(
        change="def __getitems__(self, indices): return the samples of a batch in one call",
        why=f"the fetch of {duration(stage_s(case, 'fetch'))} a batch is Python, sample by sample",
    )
