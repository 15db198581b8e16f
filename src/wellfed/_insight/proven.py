"""The finding that experiments name where no rule had named it."""

from wellfed._insight.codes import CODES
from wellfed._insight.rules.consumer import consumer_bound
from wellfed._insight.rules.say import more_workers, of_gain, use_none
from wellfed._insight.rules.transport import many_parts
from wellfed._insight.supply import best_workers, free_cores
from wellfed.records import Case, Cost, Estimate, Finding, Proof, Remedy
from wellfed.records.amounts import duration, share

__all__ = ["proven"]


def proven(case: Case, proof: Proof) -> Finding | None:
    """What the largest cost is called here; None where no name fits."""
    cost = next((one for one in proof.costs if one.name == proof.named), None)
    if cost is None or proof.period_s is None:
        return None
    if cost.name == "step":
        return _step(case, proof.period_s, cost.seconds)
    name = _name(case, cost.name)
    lost = _share_of(cost.seconds, proof.period_s)
    return Finding(
        code=CODES[name],
        name=name,
        sentence=(
            f"{_SENTENCES[cost.name.split('+')[0]]}: without it a step of "
            f"{duration(proof.period_s.value)} is {duration(cost.seconds.value)} "
            f"({share(lost.value)}) shorter."
        ),
        cost_share=lost,
        remedies=_remedies(case, name, cost),
    )


def _step(case: Case, period_s: Estimate, step_s: Estimate) -> Finding:
    seen = consumer_bound(case)
    if seen is not None:
        return seen
    lost = _share_of(
        Estimate(
            value=period_s.value - step_s.value,
            low=period_s.low - step_s.high,
            high=period_s.high - step_s.low,
        ),
        period_s,
    )
    return Finding(
        code=CODES["consumer_bound"],
        name="consumer_bound",
        sentence=(
            f"Your own step alone takes {duration(min(step_s.value, period_s.value))} of every "
            f"{duration(period_s.value)}: data that cost nothing would gain {share(lost.value)}."
        ),
        cost_share=lost,
        remedies=(
            Remedy(
                change="leave the loader as it is",
                why="look at the model, the optimiser or the batch size instead",
            ),
        ),
    )


_SENTENCES = {
    "storage": "Reading from storage sets the pace",
    "waiting": "Samples wait for something far away",
    "compute": "The CPU time of the samples sets the pace",
    "hand_over": "Handing batches over to the trainer sets the pace",
    "collate": "Collating samples into batches sets the pace",
    "floor": "What torch and Python do around each batch sets the pace",
}


def _name(case: Case, cost: str) -> str:
    part, workers = cost.split("+")[0], case.plan.workers
    if part == "compute":
        best = best_workers(case)
        more = best is not None and best.plan.workers > workers and free_cores(case) >= 0.5
        return "cpu_underprovisioned" if more else "cpu_saturated"
    moving = "transport_objects" if many_parts(case) else "transport_bytes"
    overhead = "in_memory_overhead" if workers else "per_item_overhead"
    return {
        "storage": "storage_bound",
        "waiting": "latency_bound",
        "hand_over": moving,
        "collate": _first_known("collate_bound", moving if workers else overhead),
        "floor": overhead,
    }[part]


def _first_known(*names: str) -> str:
    """The first of the names that there is a rule for."""
    return next(name for name in names if name in CODES)


def _remedies(case: Case, name: str, cost: Cost) -> tuple[Remedy, ...]:
    if name in ("latency_bound", "cpu_underprovisioned"):
        return more_workers(case, "they wait and compute side by side")
    if name in ("transport_bytes", "transport_objects", "in_memory_overhead"):
        return use_none(case)
    if name == "storage_bound":
        return (
            Remedy(
                change="keep the dataset on a faster local disk, or small enough for memory",
                why="what the page cache holds is not read again",
                gain=of_gain(case, max(0.0, cost.seconds.value)),
            ),
        )
    return ()


def _share_of(part: Estimate, whole: Estimate) -> Estimate:
    ends = [min(1.0, max(0.0, one / whole.value)) for one in (part.value, part.low, part.high)]
    return Estimate(value=ends[0], low=ends[1], high=ends[2], n=part.n)
