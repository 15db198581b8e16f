"""What the readings of a search amount to: trials to list, and the answer to paste."""

from collections.abc import Mapping, Sequence
from math import hypot, sqrt
from statistics import fmean
from typing import Protocol

import msgspec

from wellfed._tuner.readings import Reading, means_of
from wellfed._tuner.resources import mean_of, says
from wellfed._tuner.search import CERTAIN, Stop, corrected
from wellfed._tuner.space import Space
from wellfed.records import (
    Answer,
    Estimate,
    Expected,
    Failed,
    Measured,
    Outcome,
    Plan,
    Trial,
    Vetoed,
)

__all__ = ["Tried", "answer_of", "expected_of", "trials_of", "written"]


class Tried(Protocol):
    """One stretch, and what was seen beside its speed."""

    @property
    def reading(self) -> Reading: ...
    @property
    def batches(self) -> int: ...
    @property
    def first_batch_s(self) -> float: ...
    @property
    def peak_bytes(self) -> int | None: ...
    @property
    def gauges(self) -> Mapping[str, float]: ...


def answer_of(
    loader: str,
    tried: Sequence[Tried],
    stop: Stop,
    base: Sequence[Tried],
) -> Answer | None:
    """The answer of one search; None if its best plan was not measured.

    Args:
        loader: "torch" or "wellfed".
        tried: all stretches.
        stop: how the search ended.
        base: the stretches of which the first is of the present settings.
    """
    best = _seconds(tried, stop.best)
    present = _seconds(base, base[0].reading.plan) if base else None
    if best is None or present is None:
        return None
    return Answer(
        loader=loader,
        plan=stop.best,
        seconds=best,
        gain=_ratio(present, best),
        peak_bytes=_peak(tried, stop.best),
        change=written(stop.best, loader),
        why=stop.why,
    )


def trials_of(
    loader: str, found: Space, tried: Sequence[Tried], base: Sequence[Tried]
) -> tuple[Trial, ...]:
    """Every plan that was tried, and every one that was refused.

    Args:
        loader: "torch" or "wellfed".
        found: what might have been tried.
        tried: all stretches of that loader.
        base: the stretches of which the first is of the present settings.
    """
    plans = dict.fromkeys(one.reading.plan for one in tried)
    listed = [_trial(loader, plan, _outcome(tried, plan, base)) for plan in plans]
    beside = {
        plan: mean_of([one.gauges for one in tried if one.reading.plan == plan]) for plan in plans
    }
    listed = [
        msgspec.structs.replace(one, gauges=beside[plan], says=says(beside[plan], found.cores))
        for plan, one in zip(plans, listed, strict=True)
    ]
    listed += [_trial(loader, plan, Vetoed(why=why)) for plan, why in found.refused]
    return tuple(listed)


def expected_of(found: Space, readings: Sequence[Reading]) -> tuple[Expected, ...]:
    """What the model expects of every plan, as corrected through what was measured."""
    seconds = corrected(found, means_of(readings))
    return tuple(
        Expected(plan=one.plan, seconds=seconds[one.plan], memory_bytes=one.memory_bytes)
        for one in found.choices
    )


def _trial(loader: str, plan: Plan, outcome: Outcome) -> Trial:
    return Trial(
        name=f"{loader}: {written(plan, loader)}",
        kind="setting",
        question="how fast is it with these settings?",
        plan=plan,
        outcome=outcome,
    )


def _outcome(tried: Sequence[Tried], plan: Plan, base: Sequence[Tried]) -> Outcome:
    own = [one for one in tried if one.reading.plan == plan]
    failed = [one.reading.failed for one in own if one.reading.failed]
    seconds = _seconds(tried, plan)
    if failed or seconds is None:
        return Failed(why=failed[0] if failed else "it was not run to its end")
    present = _seconds(base, base[0].reading.plan)
    return Measured(
        seconds=seconds,
        batches=sum(one.batches for one in own),
        against_s=present,
        effect=_ratio(present, seconds) if present is not None else None,
        peak_bytes=_peak(tried, plan),
        first_batch_s=fmean(one.first_batch_s for one in own),
    )


def _seconds(tried: Sequence[Tried], plan: Plan) -> Estimate | None:
    """Seconds per batch of a plan over all its stretches, with a 90 % interval."""
    own = [one for one in tried if one.reading.plan == plan and not one.reading.failed]
    if not own:
        return None
    value = fmean(one.reading.seconds for one in own)
    within = fmean(one.reading.error for one in own) / sqrt(len(own))
    between = 0.0
    if len(own) > 1:
        deviations = [one.reading.seconds - value for one in own]
        between = sqrt(sum(d * d for d in deviations) / (len(own) - 1) / len(own)) / value
    reach = CERTAIN * max(within, between)
    low, high = value * max(0.0, 1 - reach), value * (1 + reach)
    return Estimate(value=value, low=low, high=high, n=sum(one.batches for one in own))


def _ratio(old: Estimate, new: Estimate) -> Estimate:
    """Speed of the new over that of the old; the two are independent."""
    value = old.value / new.value
    reach = min(0.9, hypot(old.spread, new.spread))
    return Estimate(value=value, low=value * (1 - reach), high=value / (1 - reach))


def _peak(tried: Sequence[Tried], plan: Plan) -> int | None:
    peaks = [
        one.peak_bytes for one in tried if one.reading.plan == plan and one.peak_bytes is not None
    ]
    return max(peaks, default=None)


def written(plan: Plan, loader: str) -> str:
    """The settings of a plan as one writes them."""
    words = [f"num_workers={plan.workers}"]
    if plan.prefetch is not None:
        words.append(f"prefetch_factor={plan.prefetch}")
    if plan.pin_memory:
        words.append("pin_memory=True")
    if plan.workers and plan.persistent:
        words.append("persistent_workers=True")
    if loader == "wellfed" and plan.threads:
        threads = f"threads={plan.threads}"
        words.append(f'plan=Plan(backend="{plan.backend}", workers={plan.workers}, {threads})')
        words.append("thread_safe=True")
    return ", ".join(words)
