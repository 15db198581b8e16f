"""From a trace to a verdict: summarise, account, forecast, judge.

    Trace ─ summarise ─► StageStats ┐
          ─ account ───► Ledger     ├─► Case ─ every rule ─► findings ─ choose ─► Verdict
    StageStats ─ forecast ─► gains  ┘

Which of the findings is the verdict is the matter of `binding`. Without enough evidence, or in too
much noise, there is a verdict that says so.
"""

import msgspec
import numpy as np

from wellfed._insight.abstain import not_enough_evidence, too_noisy
from wellfed._insight.binding import bound_first, confidence, headline
from wellfed._insight.estimate import scale
from wellfed._insight.knobs import knobs
from wellfed._insight.landscape import bounds, landscape
from wellfed._insight.ledger import account
from wellfed._insight.outlook import forecasts
from wellfed._insight.rules import RULES
from wellfed._insight.stats import summarise
from wellfed._insight.supply import ceiling, respawn_share
from wellfed._insight.untested import untested
from wellfed.records import (
    Case,
    Finding,
    Ledger,
    Machine,
    StageStats,
    Trace,
    Verdict,
    Workload,
)

__all__ = ["build_case", "diagnose", "find", "judge"]


def diagnose(
    machine: Machine, workload: Workload, trace: Trace, rng: np.random.Generator
) -> tuple[StageStats | None, Ledger, Verdict]:
    """Judge what was seen.

    Args:
        machine: facts about the machine.
        workload: facts about what is loaded.
        trace: what one run of one plan showed.
        rng: resamples the measured times in forecasts; the verdict depends on it only within
            the intervals it states.
    """
    case = build_case(machine, workload, trace, rng)
    if case is None:
        return None, account(trace), not_enough_evidence(len(trace.spans))
    verdict = judge(case)
    pictured = msgspec.structs.replace(verdict, forecasts=landscape(case, rng), bounds=bounds(case))
    return case.stats, case.ledger, pictured


def build_case(
    machine: Machine, workload: Workload, trace: Trace, rng: np.random.Generator
) -> Case | None:
    """All that a rule may look at; None if the trace shows not one whole step."""
    stats = summarise(trace)
    if stats is None:
        return None
    case = Case(machine=machine, workload=workload, trace=trace, stats=stats, ledger=account(trace))
    return msgspec.structs.replace(case, forecasts=forecasts(case, rng))


def judge(case: Case) -> Verdict:
    """The verdict on a case: its binding finding, or why there is none."""
    findings = find(case)
    # What is wrong with the data, or would end the run, is no matter of timing.
    timed = not findings or findings[0].stakes == "time"
    abstention = too_noisy(case, findings) if timed else None
    if abstention is not None:
        return abstention
    if not findings:
        return not_enough_evidence(case.stats.batches, case)
    bound = findings[0]
    return Verdict(
        name=bound.name,
        headline=headline(bound),
        findings=findings,
        knobs=knobs(case),
        ceiling=ceiling(case),
        confidence=confidence(findings),
        untested=untested(case),
    )


def find(case: Case) -> tuple[Finding, ...]:
    """All findings of all rules, the binding one first."""
    found = [one for rule in RULES if (one := rule(case)) is not None]
    return bound_first([_of_all_time(one, respawn_share(case)) for one in found])


def _of_all_time(finding: Finding, starting_share: float) -> Finding:
    """With its cost as a share of all the time, where a part of that goes to starting workers.

    What a step costs is a share of steady time; what begins and ends an epoch, of all of it.
    """
    if finding.stakes != "time" or finding.of_epochs:
        return finding
    cost = scale(finding.cost_share, 1 - starting_share)
    return msgspec.structs.replace(finding, cost_share=cost)
