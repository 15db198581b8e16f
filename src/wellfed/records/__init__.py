"""The floor everything stands on: frozen values that carry what was found, seen and judged.

Nothing here imports torch; a saved report opens without it.
"""

from wellfed.records.beside import Gauge, HotLine, LoaderSeen, RankSeen
from wellfed.records.changes import Change
from wellfed.records.codec import SCHEMA_VERSION, decode, encode, load, save
from wellfed.records.facts import Fact, Gpu, Machine, Source, Workload
from wellfed.records.looks import Look
from wellfed.records.plan import Plan
from wellfed.records.proof import Cost, Failed, Measured, Outcome, Proof, Trial, Vetoed
from wellfed.records.report import Report
from wellfed.records.sites import Site
from wellfed.records.stats import Estimate, Ledger, Line, Stage, StageStats
from wellfed.records.status import LoaderStatus, TrainerStatus, WorkerStatus
from wellfed.records.trace import Epoch, Span, Trace
from wellfed.records.tuning import Answer, Expected, PlanKey, TunedPlan, Tuning
from wellfed.records.verdict import Bound, Case, Evidence, Finding, Forecast, Knob, Remedy, Verdict

__all__ = [
    "SCHEMA_VERSION",
    "Answer",
    "Bound",
    "Case",
    "Change",
    "Cost",
    "Epoch",
    "Estimate",
    "Evidence",
    "Expected",
    "Fact",
    "Failed",
    "Finding",
    "Forecast",
    "Gauge",
    "Gpu",
    "HotLine",
    "Knob",
    "Ledger",
    "Line",
    "LoaderSeen",
    "LoaderStatus",
    "Look",
    "Machine",
    "Measured",
    "Outcome",
    "Plan",
    "PlanKey",
    "Proof",
    "RankSeen",
    "Remedy",
    "Report",
    "Site",
    "Source",
    "Span",
    "Stage",
    "StageStats",
    "Trace",
    "TrainerStatus",
    "Trial",
    "TunedPlan",
    "Tuning",
    "Verdict",
    "Vetoed",
    "WorkerStatus",
    "Workload",
    "decode",
    "encode",
    "load",
    "save",
]
