"""What came out of one run, and what the oracle makes of it. Pure: numbers in, a label out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from planted.recipe import Recipe
from wellfed.records import Estimate, Remedy, Report

__all__ = [
    "CONTROL",
    "COSTS",
    "NEITHER",
    "Label",
    "Outcome",
    "first_remedy",
    "label",
    "remedied",
    "share_in_next",
]

COSTS = 0.10
"""From this share of the time on, what is planted counts as the cause; and data as a cost."""

CONTROL = "control"
NEITHER = "neither"


@dataclass(frozen=True)
class Label:
    """What a run is, by measurement."""

    name: str
    """The right verdict; `control`: data cost next to nothing; `neither`: no right answer."""
    plant_cost: float
    """Share of the time that goes away with what was planted; 0 for a control."""
    data_cost: float
    """Share of the time that goes away with data that costs nothing."""


def label(cause: str, rates: Mapping[str, Sequence[float]]) -> Label:
    """The oracle: a plant that costs a tenth of the time is the cause.

    One that does not is a control if data as a whole costs less than a tenth, too. What is left
    loses time to something that nobody planted, and is counted apart.

    Args:
        cause: what was planted; "" in a control.
        rates: samples per second of the windows of each variant: planted, free and, unless it is a
            control, cured.
    """
    planted = mean(rates["planted"])
    data_cost = 1 - planted / mean(rates["free"])
    plant_cost = 1 - planted / mean(rates["cured"]) if cause else 0.0
    if cause and plant_cost >= COSTS:
        return Label(cause, plant_cost, data_cost)
    return Label(CONTROL if data_cost < COSTS else NEITHER, plant_cost, data_cost)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run: drawn, diagnosed, measured."""

    key: str
    cause: str
    """What was planted; "" in a control."""
    severity: float
    label: str
    plant_cost: float
    data_cost: float
    verdict: str
    findings: tuple[str, ...] = ()
    share_in_next: float = 0.0
    """What the rules of thumb look at."""
    seconds: float = 0.0
    """From the command to its exit."""
    watched_s: float = 0.0
    """Of them, those that training was watched."""
    cores_of_others: float = 0.0
    """Cores that other programs kept busy meanwhile."""
    remedy: str = ""
    """The first remedy with a predicted gain; "" if there was none."""
    predicted: tuple[float, float, float] | None = None
    """Its gain: value and ends of the interval."""
    measured: float | None = None
    """The gain when it was applied; None where that could not be done."""


def share_in_next(report: Report) -> float:
    """Share of the loop's time spent in `next()`, over all that was seen."""
    spans = report.trace.spans
    pairs = [(one, two) for one, two in pairwise(spans) if one.epoch == two.epoch]
    waits = sum(two.wait_ns for _, two in pairs)
    steps = sum(max(0, two.asked_ns - one.got_ns - two.paused_ns) for one, two in pairs)
    return waits / (waits + steps) if waits + steps else 0.0


def first_remedy(report: Report) -> Remedy | None:
    """The one that the headline names: the first of the binding finding that has a gain."""
    verdict = report.verdict
    if verdict.abstains or not verdict.findings:
        return None
    return next((one for one in verdict.findings[0].remedies if one.gain is not None), None)


def remedied(planted: Recipe, remedy: Remedy) -> Recipe | None:
    """The run with the remedy applied as it is written; None if it cannot be."""
    if remedy.plan is not None:
        plan = remedy.plan
        return replace(
            planted,
            workers=plan.workers,
            # What torch takes without being told stays as it is written.
            prefetch=plan.prefetch if plan.workers and plan.prefetch != 2 else None,
            persistent=plan.persistent,
            in_order=plan.in_order,
        )
    if "BatchSampler(" in remedy.change:
        return replace(planted, by_rows=True)
    if remedy.change.startswith("pack them in collate_fn"):
        return replace(planted, collate="pack")
    word, _, rest = remedy.change.partition("=")
    if word == "batch_size" and planted.split == 1:
        larger = int(rest.split()[0]) // planted.batch_size
        return replace(
            planted,
            batch_size=planted.batch_size * larger,
            epoch_batches=max(1, planted.epoch_batches // larger),
            split=larger,
        )
    return None


def ends(gain: Estimate) -> tuple[float, float, float]:
    """An estimate as it is kept in an outcome."""
    return (gain.value, gain.low, gain.high)


def mean(values: Sequence[float]) -> float:
    # Windows are equally long: the rate of all of them is the mean of their rates.
    return sum(values) / len(values)
