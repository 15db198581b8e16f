"""From a trace to a verdict: summarise, account, forecast, judge.

    Trace ─ summarise ─► StageStats ┐
          ─ account ───► Ledger     ├─► Case ─ every rule ─► findings ─ choose ─► Verdict
    StageStats ─ forecast ─► gains  ┘

The verdict is the finding that costs most; among findings that cost about the same, the more
specific. One that puts the data or the run at stake comes before all that only cost time. Without
enough evidence, or in too much noise, there is a verdict that says so.
"""

import msgspec
import numpy as np

from wellfed._insight.abstain import not_enough_evidence, too_noisy
from wellfed._insight.knobs import knobs
from wellfed._insight.landscape import bounds, landscape
from wellfed._insight.ledger import account
from wellfed._insight.outlook import forecasts
from wellfed._insight.rules import RULES
from wellfed._insight.stats import summarise
from wellfed._insight.supply import SIGNIFICANT, ceiling
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
from wellfed.records.amounts import gain

__all__ = ["build_case", "diagnose", "headline", "judge"]

# Costs within so much of the largest count as the same: the rules' order decides.
ABOUT_THE_SAME = 0.7


# What a finding may put at stake, the worst first.
STAKES = ("data", "run", "time")


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
        confidence=_confidence(findings),
        untested=untested(case),
    )


def find(case: Case) -> tuple[Finding, ...]:
    """All findings of all rules, the binding one first."""
    found = [finding for rule in RULES if (finding := rule(case)) is not None]
    if not found:
        return ()
    worst = min(STAKES.index(one.stakes) for one in found)
    rivals = [one for one in found if STAKES.index(one.stakes) == worst]
    most = max(one.cost_share.value for one in rivals)
    dear = [one for one in rivals if one.cost_share.value >= ABOUT_THE_SAME * most]
    keeps_up = any(one.name == "consumer_bound" for one in dear)
    bound = next(one for one in dear if _pays(one) or not keeps_up)
    rest = sorted((one for one in found if one is not bound), key=lambda one: -one.cost_share.value)
    return (bound, *rest)


def _pays(finding: Finding) -> bool:
    """Whether a remedy of it is worth a change, as far as that is predicted.

    Where the loader keeps up but for a few per cent, a cause of those is no verdict: it is listed
    after the one that there is nothing to fix.
    """
    gains = [one.gain.value for one in finding.remedies if one.gain is not None]
    return not gains or max(gains) >= 1 + SIGNIFICANT


def headline(bound: Finding) -> str:
    """The sentence of the finding, and what to do first."""
    best = next((one for one in bound.remedies if one.gain is not None), None)
    if best is None or best.gain is None:
        return bound.sentence
    how = "measured" if best.measured else "predicted"
    return f"{bound.sentence} {best.change}: {gain(best.gain.value)} {how}."


def _confidence(findings: tuple[Finding, ...]) -> float:
    """How clearly the evidence points to the binding finding: a score from 0.5 to 0.99.

    The product of two shares: how far its cost is from the threshold of mattering, in widths of
    its interval; and how much it outweighs the next finding of another group.
    """
    bound = findings[0]
    cost = bound.cost_share
    half = max(1e-3, (cost.high - cost.low) / 2)
    apart = min(1.0, abs(cost.value - SIGNIFICANT) / half)
    others = [one.cost_share.value for one in findings[1:] if one.code[:3] != bound.code[:3]]
    rival = min(1.0, max(others, default=0.0) / cost.value) if cost.value else 0.0
    return round(0.5 + 0.49 * apart * (1 - 0.5 * rival), 2)
