"""What tuning tried, what each trial came to, and what it answers."""

import msgspec

from wellfed.records._record import Record
from wellfed.records.plan import Plan
from wellfed.records.proof import Trial
from wellfed.records.stats import Estimate

__all__ = ["Answer", "Expected", "PlanKey", "TunedPlan", "Tuning"]


class Answer(Record, frozen=True, kw_only=True):
    """The best plan of one loader."""

    loader: str
    """"torch" or "wellfed"."""
    plan: Plan
    seconds: Estimate
    """Seconds from batch to batch, as measured, the step included."""
    gain: Estimate
    """Speed over that of the settings that were found, both measured; 1.0 is no change."""
    peak_bytes: int | None = None
    """Most memory of its workers that was seen, shared pages divided; None if not looked at."""
    change: str
    """The line to paste."""
    why: str
    """Why the search ended with it, in one clause."""


class Expected(Record, frozen=True, kw_only=True):
    """A plan of torch's loader and what the model expects of it, tried or not."""

    plan: Plan
    seconds: float
    """Seconds from batch to batch, by the model as corrected through what was measured."""
    memory_bytes: int
    """Memory beyond that of the settings that were found, in bytes, as forecast."""


class PlanKey(Record, frozen=True, kw_only=True):
    """What has to be the same for a plan to hold. Each is a text that is compared as a whole."""

    machine: str
    """Architecture, CPUs of the host, its memory, its GPUs."""
    limits: str
    """CPUs and memory that this process may use of it."""
    dataset: str
    """Its class, its length, the batch size, and a checksum of the code that fetches a sample."""
    transform: str
    """Transforms of the dataset, and the collate function, each by name and checksum."""
    torch: str
    """Version of torch."""

    def differences(self, other: "PlanKey") -> tuple[str, ...]:
        """What differs, a clause each: this one is what was, the other what is."""
        pairs = [
            (name, getattr(self, name), getattr(other, name)) for name in self.__struct_fields__
        ]
        return tuple(f"{name} was {was}, and is {now}" for name, was, now in pairs if was != now)


class Tuning(Record, frozen=True, kw_only=True):
    """A search for the best settings, and its answers."""

    present: Plan
    """The settings that were found."""
    trials: tuple[Trial, ...]
    """Every plan that was tried or refused, in the order of the first try."""
    answers: tuple[Answer, ...] = ()
    """For torch's own loader first, then for wellfed's."""
    spent_s: float = 0.0
    budget_s: float = 0.0
    memory_bytes: int | None = None
    """Memory that the workers of a plan were allowed; None without a limit."""
    interrupted: bool = False
    """Whether it was ended early; the answers are the best so far."""

    swept: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """The values of each setting, where all combinations were run; empty for a search."""
    expected: tuple[Expected, ...] = ()
    """Every plan of torch's that could have been tried, with its forecast."""
    key: PlanKey | None = None
    """What the answers hold for."""

    def answer(self, loader: str) -> Answer | None:
        """The answer for "torch" or "wellfed"; None if there is none."""
        return next((one for one in self.answers if one.loader == loader), None)


class TunedPlan(Record, frozen=True, kw_only=True):
    """The best settings for one job in one place. Saved by `Report.save_plan`."""

    wellfed_version: str
    created_unix_s: float
    key: PlanKey
    answers: tuple[Answer, ...]
    """For torch's own loader first, then for wellfed's, as in the tuning."""

    def answer(self, loader: str) -> Answer | None:
        """The answer for "torch" or "wellfed"; None if there is none."""
        return next((one for one in self.answers if one.loader == loader), None)
