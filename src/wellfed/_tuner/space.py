"""The plans that may be tried: legal, safe, and each with what the model expects of it."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from wellfed._insight.memory import fit
from wellfed._insight.outlook import forecast_of, worker_counts
from wellfed._insight.predict import predict_period, speedup
from wellfed._insight.supply import usable_cores
from wellfed._tuner.readings import Reading, means_of
from wellfed.records import Case, Forecast, Plan
from wellfed.records._record import Record
from wellfed.records.amounts import size

__all__ = ["Choice", "Space", "first_of", "own_space", "space", "weigh"]

DEPTHS = (2, 1, 4, 8)
"""Values of `prefetch_factor`; torch's default first."""

FAR = 1.5
"""Worker counts go so many times past the usable cores, for data that are waited for."""


class Choice(Record, frozen=True, kw_only=True):
    """A plan that may be tried."""

    plan: Plan
    seconds: float
    """Seconds per batch that the model expects."""
    memory_bytes: int
    """Memory beyond the plan that ran, in bytes, as forecast."""


class Space(Record, frozen=True, kw_only=True):
    """All plans that may be tried, the one that ran first."""

    choices: tuple[Choice, ...]
    refused: tuple[tuple[Plan, str], ...] = ()
    """Plans that may not be tried, and why."""
    cores: float
    """Cores that this process may use."""

    def choice(self, plan: Plan) -> Choice | None:
        """The choice of a plan; None if it may not be tried."""
        return next((one for one in self.choices if one.plan == plan), None)


def space(case: Case, rng: np.random.Generator, *, spare_bytes: float | None = None) -> Space:
    """The plans of torch's loader that may be tried instead of the one that ran.

    What would change samples, order or randomness is left out: `in_order` stays as it is.

    Args:
        case: what was seen of the plan that ran.
        rng: resamples measured times in forecasts.
        spare_bytes: memory that plans may take beyond the one that ran; None for no limit.
    """
    here = case.plan
    found = [Choice(plan=here, seconds=case.stats.period_s.value, memory_bytes=0)]
    refused: list[tuple[Plan, str]] = []
    for plan in _plans(case):
        weighed = weigh(case, plan, rng, spare_bytes)
        if isinstance(weighed, str):
            refused.append((plan, weighed))
        else:
            found.append(weighed)
    return Space(choices=tuple(found), refused=tuple(refused), cores=usable_cores(case))


def weigh(
    case: Case, plan: Plan, rng: np.random.Generator, spare_bytes: float | None
) -> Choice | str:
    """A plan of torch's with what is expected of it, or why it may not be tried.

    Args:
        case: what was seen of the plan that ran.
        plan: another one.
        rng: resamples measured times in forecasts.
        spare_bytes: memory that it may take beyond the one that ran; None for no limit.
    """
    fitting = fit([case], plan)
    if not fitting.fits:
        return str(fitting)
    forecast = _forecast(case, plan, rng)
    more = forecast.memory_bytes or 0
    if spare_bytes is not None and more > spare_bytes:
        return f"it would take {size(more)} more, and {size(max(0.0, spare_bytes))} are left"
    seconds = case.stats.period_s.value / max(1e-9, forecast.gain.value)
    return Choice(plan=plan, seconds=seconds, memory_bytes=more)


def _plans(case: Case) -> list[Plan]:
    here = case.plan
    counts = [*worker_counts(case), round(FAR * usable_cores(case))]
    if here.workers and case.workload.style == "iterable":
        # Another number of workers shares the data out otherwise, or repeats it.
        counts = [here.workers]
    plans: list[Plan] = []
    for workers in sorted(set(counts)):
        if not workers:
            none = {"prefetch": None, "persistent": False, "start_method": None}
            plans.append(msgspec.structs.replace(here, workers=0, **none))
            continue
        start = here.start_method or case.machine.start_method.value or "fork"
        plans += [
            msgspec.structs.replace(here, workers=workers, prefetch=depth, start_method=start)
            for depth in DEPTHS
        ]
    return [plan for plan in plans if plan != here]


def _forecast(case: Case, plan: Plan, rng: np.random.Generator) -> Forecast:
    """As forecast for the report where it was; else now."""
    known = next((one for one in case.forecasts if one.plan == plan), None)
    if known is not None:
        return known
    return forecast_of(case, plan, speedup(case.stats.period_s, predict_period(case, plan, rng)))


# Threads in each worker, for samples that are waited for: powers of four up to what a process
# starts within a tenth of a second.
THREADS = (8, 32, 128)


def own_space(
    torchs: Space,
    readings: Sequence[Reading],
    expects: Callable[[Plan], float] | None = None,
) -> Space:
    """Wellfed's plans that are worth a try, given how torch's came out.

    The engine makes batches no faster than torch's workers do, and hands them over with less: so
    what torch needed with as many workers is the most that is expected of it.

    Args:
        torchs: torch's plans, with the model's forecasts.
        readings: what was measured of them.
        expects: seconds per batch that the model expects of a plan with threads; None where samples
            may not be fetched by several at once.
    """
    measured = means_of(readings)
    best = min(measured, key=lambda plan: measured[plan], default=torchs.choices[0].plan)
    depths = {2, best.prefetch, torchs.choices[0].plan.prefetch}
    found: list[Choice] = []
    for choice in sorted(torchs.choices, key=lambda one: one.plan != torchs.choices[0].plan):
        plan = choice.plan
        if plan.workers and plan.prefetch not in depths:
            continue
        backend = "processes" if plan.workers else "inline"
        own = msgspec.structs.replace(plan, backend=backend)
        seconds = measured.get(plan, choice.seconds)
        found.append(Choice(plan=own, seconds=seconds, memory_bytes=choice.memory_bytes))
    if expects is not None:
        found += _threaded(found, expects)
    return Space(choices=tuple(found), cores=torchs.cores)


def first_of(found: Space, present: Plan) -> Space:
    """The same with the plan that ran first, whether it was among them or not."""
    known = found.choice(present) or msgspec.structs.replace(found.choices[0], plan=present)
    others = [one for one in found.choices if one.plan != present]
    return msgspec.structs.replace(found, choices=(known, *others))


def _threaded(found: Sequence[Choice], expects: Callable[[Plan], float]) -> list[Choice]:
    """The same with threads in each worker, where there are few of those."""
    few = [one for one in found if one.plan.workers in (1, 2)]
    plans = [
        (one, msgspec.structs.replace(one.plan, threads=threads))
        for one in few
        for threads in THREADS
    ]
    return [
        Choice(plan=plan, seconds=expects(plan), memory_bytes=one.memory_bytes)
        for one, plan in plans
    ]
