"""What a picture of the settings shows: the model's answer over a grid of plans, and its bounds."""

import msgspec
import numpy as np

from wellfed._insight.estimate import scale
from wellfed._insight.outlook import forecast_of, gain_of, worker_counts
from wellfed._insight.predict import predict_period
from wellfed._insight.supply import ceiling, usable_cores, waits
from wellfed.records import Bound, Case, Estimate, Forecast

__all__ = ["bounds", "landscape"]

DEPTHS = (1, 2, 4, 8)
"""Values of `prefetch_factor` that are drawn; between them nothing happens."""

MOST_COUNTS = 8
"""Worker counts that are drawn: one prediction takes about 7 ms, and a card must not be late."""


def landscape(case: Case, rng: np.random.Generator) -> tuple[Forecast, ...]:
    """All that was forecast, and other depths of the buffer for each number of workers."""
    known = {one.plan for one in case.forecasts} | {case.plan}
    plans = [
        msgspec.structs.replace(case.plan, workers=workers, prefetch=prefetch)
        for workers in _thinned([count for count in worker_counts(case) if count])
        for prefetch in DEPTHS
    ]
    return case.forecasts + tuple(
        forecast_of(case, plan, gain_of(case, plan, predict_period(case, plan, rng)))
        for plan in plans
        if plan not in known
    )


def _thinned(counts: list[int]) -> list[int]:
    """At most `MOST_COUNTS` of them, the ends kept."""
    if len(counts) <= MOST_COUNTS:
        return counts
    places = np.linspace(0, len(counts) - 1, MOST_COUNTS).round().astype(int)
    return [counts[place] for place in sorted(set(places.tolist()))]


def bounds(case: Case) -> tuple[Bound, ...]:
    """What the step, the cores and the storage allow, each as if it were alone."""
    found = (_step(case), _cpu(case), _storage(case))
    return tuple(one for one in found if one is not None)


def _step(case: Case) -> Bound | None:
    """The speed of the loop if data were free: 1 / (period − what data cost)."""
    period_s = case.stats.period_s.value
    if period_s <= 0:
        return None
    return Bound(
        name="step",
        batches_per_s=scale(ceiling(case), 1 / period_s),
        sentence="your step alone, if data were free",
    )


def _cpu(case: Case) -> Bound | None:
    """All usable cores on nothing but making batches and the step's own CPU work."""
    stats = case.stats
    fetch = stats.stages.get("fetch")
    if fetch is None or not fetch.cpu_s:
        return None
    making_s = fetch.cpu_s * (1 + stats.native_cpu_share)
    step_s = stats.period_s.value * (1 - stats.wait_share.value) * (stats.step_cpu_cores or 0.0)
    demand_s = making_s + step_s
    cores = usable_cores(case)
    # What was measured is possible.
    rate = max(cores / demand_s, 1 / stats.period_s.value)
    spread = fetch.wall_s.spread
    return Bound(
        name="cpu",
        batches_per_s=Estimate(value=rate, low=rate / (1 + spread), high=rate * (1 + spread)),
        sentence=f"{cores:g} cores, of which each batch takes {1000 * demand_s:.3g} ms",
    )


def _storage(case: Case) -> Bound | None:
    """The rate at which storage delivered, where making batches mostly waited for it."""
    stats = case.stats
    read_bytes = stats.read_bytes_per_batch or 0.0
    rate = stats.gauges.get("disk_read_bytes_per_s", 0.0)
    if not read_bytes or not rate or stats.maker_off_share < 0.5 or not waits(case):
        return None
    return Bound(
        name="storage",
        batches_per_s=scale(Estimate(value=rate, low=0.9 * rate, high=1.1 * rate), 1 / read_bytes),
        sentence="storage delivering as fast as it was seen to",
    )
