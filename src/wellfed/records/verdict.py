"""What is wrong, how that is known, and what to do about it."""

from wellfed.records._record import Record
from wellfed.records.facts import Machine, Workload
from wellfed.records.plan import Plan
from wellfed.records.stats import Estimate, Ledger, StageStats
from wellfed.records.trace import Trace

__all__ = ["Bound", "Case", "Evidence", "Finding", "Forecast", "Knob", "Remedy", "Verdict"]


class Evidence(Record, frozen=True, kw_only=True):
    """One number that speaks for a finding."""

    text: str
    """The number in words, e.g. "worker cpu/wall 0.98"."""
    value: float | None = None
    """The number itself; None where the evidence is a fact, not a quantity."""
    low: float | None = None
    high: float | None = None
    """Ends of its 90 % interval, where it has one."""


class Remedy(Record, frozen=True, kw_only=True):
    """One change, what it would gain, and what else it would do."""

    change: str
    """The setting or line to write, ready to paste: "num_workers=7"."""
    why: str = ""
    """One clause: why that helps here."""
    plan: Plan | None = None
    """The same change as a Plan, where it is one; None for changes to the script itself."""
    gain: Estimate | None = None
    """New speed over old speed: 2.0 is twice as fast, 1.0 no change; None if not predictable."""
    measured: bool = False
    """True if the gain was measured here; False if it is predicted."""
    predicted: Estimate | None = None
    """What had been predicted, where the gain was measured since."""
    memory_bytes: int | None = None
    """Extra memory it would take, in bytes; negative frees memory; None if unknown."""
    reproducibility: str = ""
    """What it would change about the samples, their order or their randomness; "" if nothing."""


class Finding(Record, frozen=True, kw_only=True):
    """One thing that costs time, or worse, with its evidence and its remedies."""

    code: str
    """Stable code with a page in the docs: "WF201"."""
    name: str
    """Stable name: "cpu_underprovisioned"."""
    sentence: str
    """What is so, in one sentence with its numbers."""
    evidence: tuple[Evidence, ...] = ()
    cost_share: Estimate
    """Share of the consumer's time that this costs, 0 to 1: what could be won at most."""
    remedies: tuple[Remedy, ...] = ()
    """Best first."""
    stakes: str = "time"
    """What is at stake: "time"; "run", which a limit would end; or "data", which is not what it is
    meant to be. Data comes before the run, and the run before time, whatever they cost."""

    @property
    def of_epochs(self) -> bool:
        """Whether it is about how epochs begin and end: its cost is a share of them as a whole."""
        return self.code.startswith("WF6")


class Knob(Record, frozen=True, kw_only=True):
    """What changing one setting would do here, including nothing at all."""

    name: str
    """num_workers, prefetch_factor, pin_memory or persistent_workers."""
    now: str
    """The present setting, as written in Python."""
    best: str
    """The best setting for it alone, as written in Python; the same as `now` if nothing gains."""
    gain: Estimate
    """New speed over old with that one change; 1.0 is no change."""
    sentence: str
    """What it would do and why, in one clause."""


class Forecast(Record, frozen=True, kw_only=True):
    """What the model expects of another plan."""

    plan: Plan
    gain: Estimate
    """Speed over the speed of the plan that ran; below 1 it would be slower."""
    memory_bytes: int | None = None
    """Memory it would take beyond the plan that ran, in bytes; None if unknown."""


class Bound(Record, frozen=True, kw_only=True):
    """The speed that one resource allows, whatever the others do."""

    name: str
    """"step", "cpu" or "storage"."""
    batches_per_s: Estimate
    sentence: str
    """Where the number comes from, in one clause."""


class Verdict(Record, frozen=True, kw_only=True):
    """Which resource bounds the pipeline, or why that cannot be said."""

    name: str
    """The name of the finding that bounds it, or "too_noisy" or "not_enough_evidence"."""
    headline: str
    """One sentence that can be acted on."""
    findings: tuple[Finding, ...] = ()
    """All that fired, the binding one first."""
    knobs: tuple[Knob, ...] = ()
    ceiling: Estimate | None = None
    """Speed-up if data were free; 1.0: the loader costs nothing."""
    confidence: float = 0.0
    """How clearly the evidence points to the named resource, 0 to 1: a score, not a chance."""
    untested: tuple[str, ...] = ()
    """Causes that nothing in this run could have shown, each with why, one sentence each."""
    abstains: str = ""
    """Why there is no verdict; "" if there is one."""
    forecasts: tuple[Forecast, ...] = ()
    """What the model expects of other numbers of workers and depths of the buffer."""
    bounds: tuple[Bound, ...] = ()
    """The speeds that single resources allow."""
    ignored: tuple[str, ...] = ()
    """Names of findings that were left out because the user asked for that."""


class Case(Record, frozen=True, kw_only=True):
    """All that a rule may look at."""

    machine: Machine
    workload: Workload
    trace: Trace
    stats: StageStats
    ledger: Ledger
    forecasts: tuple[Forecast, ...] = ()
    """What the model expects of the other plans that could be used here."""

    @property
    def plan(self) -> Plan:
        """The plan that ran."""
        return self.trace.plan
