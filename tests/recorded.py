"""Reports of real runs: the recorded traces, judged as the package judges them today."""

from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from wellfed._insight.diagnose import diagnose
from wellfed.records import Report, load

TRACES = Path(__file__).parent / "golden/traces"

NAMES = sorted(path.name.removesuffix(".json.gz") for path in TRACES.glob("*.json.gz"))


@cache
def recorded(name: str) -> Report:
    report: Report = load(TRACES / f"{name}.json.gz")
    rng = np.random.default_rng(0)
    stats, ledger, verdict = diagnose(report.machine, report.workload, report.trace, rng)
    return msgspec.structs.replace(report, stats=stats, ledger=ledger, verdict=verdict)
