"""What the confirming experiments asked, what each of them answered, and what was not asked.

period   = storage + compute + waiting + hand_over + collate + floor + step
(as is)    each line is what the step got faster by when that cost was taken away
"""

from typing import TypeAlias

import msgspec

from wellfed.records._record import Record
from wellfed.records.plan import Plan
from wellfed.records.stats import Estimate

__all__ = ["RUNGS", "Cost", "Failed", "Measured", "Outcome", "Proof", "Trial", "Vetoed"]

RUNGS = ("as_is", "warm", "waits", "memoised", "collated", "tiny", "cached")
"""The runs of the ladder, each without one more cost than the one before."""


class Measured(Record, frozen=True, kw_only=True, tag="measured"):
    """It ran."""

    seconds: Estimate
    """Seconds per batch, or per epoch start where that is what was asked."""
    batches: int
    """Batches behind it, warm-up left out."""
    against_s: Estimate | None = None
    """Seconds per batch of what it was run in turn with; None for a rung of the ladder."""
    effect: Estimate | None = None
    """The answer: of a factor, new speed over old; of a start, the same over whole epochs; of a
    delay, the share of it that the step became longer by, where 1 is a stage that sets the pace and
    0 one that is hidden; of the shadow run, the step beside working workers over the step alone; of
    settings, their speed over that of the present ones."""
    first_batch_s: float | None = None
    """Seconds from the start of the iterator to its first batch; None if that was not timed."""
    peak_bytes: int | None = None
    """Most memory of the workers that was seen, shared pages divided; None if not looked at."""


class Failed(Record, frozen=True, kw_only=True, tag="failed"):
    """It was tried and did not come to an end."""

    why: str
    """What happened."""


class Vetoed(Record, frozen=True, kw_only=True, tag="vetoed"):
    """It was not tried."""

    why: str
    """Why not."""


Outcome: TypeAlias = Measured | Failed | Vetoed


class Trial(Record, frozen=True, kw_only=True):
    """One experiment and its outcome."""

    name: str
    """A rung of the ladder, "shadow", "delay.worker", "delay.trainer" or the changed setting; of
    a tuning, the loader and all its settings."""
    kind: str
    """rung, factor, start, shadow, delay or setting."""
    question: str
    """What it asks, in a few words."""
    plan: Plan | None = None
    """The plan it ran under, where that is not the loader's own."""
    outcome: Outcome
    gauges: dict[str, float] = msgspec.field(default_factory=dict)
    """Means of the machine's gauges while it was timed, by name; empty if none were kept."""
    says: tuple[str, ...] = ()
    """What each resource says by those gauges, a clause each: "both cores full", "disk idle"."""


class Cost(Record, frozen=True, kw_only=True):
    """One line of the ladder."""

    name: str
    """storage, compute, waiting, hand_over, collate, floor or step; two or more joined by "+"
    where a rung between them could not be run."""
    seconds: Estimate
    """Seconds per batch by which the period shrank when it was taken away; below 0 within the
    interval of one that costs nothing."""


class Proof(Record, frozen=True, kw_only=True):
    """All that the experiments showed."""

    trials: tuple[Trial, ...]
    """Every experiment, also those that were not run."""
    period_s: Estimate | None = None
    """Seconds from batch to batch, as is, in the experiments; None if that could not be run."""
    costs: tuple[Cost, ...] = ()
    """The lines of the ladder; they add up to the period."""
    fidelity: float | None = None
    """The period in the experiments over that of the observed run. Near 1: what was taken apart
    is what was observed."""
    named: str = ""
    """What the experiments name as the largest cost; "" if they do not decide."""
    first_name: str = ""
    """The verdict before the experiments."""
    overruled: bool = False
    """Whether the experiments changed the verdict."""
    spent_s: float = 0.0
    """Seconds that the experiments took."""
    budget_s: float = 0.0
    """Seconds that they might have taken."""

    @property
    def untested(self) -> tuple[tuple[str, str], ...]:
        """What was not tested, each with its reason."""
        return tuple(
            (one.name, one.outcome.why)
            for one in self.trials
            if isinstance(one.outcome, Failed | Vetoed)
        )
