"""Batches are ready, but not the one whose turn it is; or the buffer is shorter than a burst."""

import msgspec

from wellfed._insight.estimate import scale
from wellfed._insight.rules.say import waiting, with_plan
from wellfed._insight.supply import (
    SIGNIFICANT,
    comes_in_time,
    forecast,
    lost_share,
    makers_busy_share,
    waits,
)
from wellfed.records import Case, Estimate, Evidence, Finding, Remedy
from wellfed.records.amounts import duration, share

__all__ = ["burst_jitter", "head_of_line"]

# Workers that are busy this much are the limit themselves; then order costs little besides.
MAKERS_FULL = 0.9

# The slowest batches of a hundred against the usual one: below, batches are even enough that a
# buffer of two hides what they differ by.
UNEVEN = 3.0


def head_of_line(case: Case) -> Finding | None:
    """WF501: the trainer waits for one slow batch while later ones are held back."""
    stats, plan = case.stats, case.plan
    if plan.workers < 2 or not plan.in_order or not waits(case):
        return None
    if stats.held_wait_share < max(SIGNIFICANT, 0.5 * stats.wait_share.value):
        return None
    unordered = forecast(case, msgspec.structs.replace(plan, in_order=False))
    if unordered is None or unordered.gain.value < 1.05 or makers_busy_share(case) >= MAKERS_FULL:
        return None
    if comes_in_time(case):
        return None
    fetch = stats.stages["fetch"]
    deeper = forecast(case, msgspec.structs.replace(plan, prefetch=4 * (plan.prefetch or 2)))
    return Finding(
        code="WF501",
        name="head_of_line",
        sentence=(
            f"Batches differ ({duration(fetch.p50_s)} usual, {duration(fetch.p99_s)} at worst), "
            f"and delivery in order holds finished ones back for the slow one: "
            f"{share(stats.held_wait_share)} of each step."
        ),
        evidence=(
            waiting(case),
            Evidence(
                text=f"{share(stats.held_wait_share)} of the step waits with batches held back",
                value=stats.held_wait_share,
            ),
            Evidence(text=f"batch time varies by {share(fetch.cv)} (CV)", value=fetch.cv),
            Evidence(
                text=f"workers busy only {share(makers_busy_share(case))} of the time",
                value=makers_busy_share(case),
            ),
        ),
        cost_share=_held(case),
        remedies=(
            *(
                (
                    with_plan(
                        deeper,
                        f"prefetch_factor={deeper.plan.prefetch}",
                        "a deeper buffer rides out the slow ones",
                    ),
                )
                if deeper is not None and deeper.gain.value >= 1.03
                else ()
            ),
            with_plan(
                unordered,
                "in_order=False",
                "takes whichever batch is ready",
                "batches come in another order from run to run",
            ),
            Remedy(
                change="sort samples into batches of similar cost (length buckets)",
                why="batches of equal cost need no buffer",
                reproducibility="changes which samples meet in a batch",
            ),
        ),
    )


def burst_jitter(case: Case) -> Finding | None:
    """WF502: workers keep up on average, and the buffer is too short for their slow batches."""
    stats, plan = case.stats, case.plan
    if not plan.workers or not waits(case) or makers_busy_share(case) >= MAKERS_FULL:
        return None
    fetch, period_s = stats.stages.get("fetch"), stats.period_s.value
    if fetch is None or fetch.p99_s < UNEVEN * fetch.p50_s or comes_in_time(case):
        return None
    step_s = period_s * (1 - stats.wait_share.value)
    if fetch.wall_s.value / plan.workers >= step_s:  # supply below demand: no buffer helps
        return None
    deeper = forecast(case, msgspec.structs.replace(plan, prefetch=4 * (plan.prefetch or 2)))
    if deeper is None or deeper.gain.value < 1.05:
        return None
    return Finding(
        code="WF502",
        name="burst_jitter",
        sentence=(
            f"Workers make a batch every {duration(fetch.wall_s.value / plan.workers)} on average "
            f"and a step takes {duration(step_s)}, but the slowest take {duration(fetch.p99_s)}: "
            f"{plan.depth} batches in the making do not last so long."
        ),
        evidence=(
            waiting(case),
            Evidence(
                text=f"batch time {duration(fetch.p50_s)} usual, {duration(fetch.p99_s)} at p99",
                value=fetch.p99_s / max(1e-9, fetch.p50_s),
            ),
            Evidence(
                text=f"workers busy only {share(makers_busy_share(case))} of the time",
                value=makers_busy_share(case),
            ),
        ),
        cost_share=lost_share(case),
        remedies=(
            with_plan(
                deeper,
                f"prefetch_factor={deeper.plan.prefetch}",
                "a deeper buffer lasts over the slow ones",
            ),
            Remedy(
                change="let the workers open their shards at different times",
                why="then the slow batches of all workers do not come at once",
            ),
        ),
    )


def _held(case: Case) -> Estimate:
    """The lost share, as far as later batches were there while the trainer waited."""
    lost = lost_share(case)
    part = min(1.0, case.stats.held_wait_share / case.stats.wait_share.value)
    return scale(lost, part)
