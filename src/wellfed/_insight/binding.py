"""Which finding is the verdict, how clearly, and in what words.

It is the finding that costs most; among findings that cost about the same, the one whose rule comes
first. One that puts the data or the run at stake comes before all that only cost time.
"""

from collections.abc import Sequence

import msgspec

from wellfed._insight.supply import LITTLE, SIGNIFICANT
from wellfed.records import Finding, Verdict
from wellfed.records.amounts import gain

__all__ = ["bound_first", "confidence", "headline", "without"]

# Costs within so much of the largest count as the same: the rules' order decides.
ABOUT_THE_SAME = 0.7

# A remedy whose gain may as well be a loss of so much is no headline.
LEAST_GAIN = 0.9

KEEPS_UP = "consumer_bound"
"""What is found where there is nothing to fix."""

# What a finding may put at stake, the worst first.
STAKES = ("data", "run", "time")


def bound_first(found: Sequence[Finding]) -> tuple[Finding, ...]:
    """All findings, the binding one first, and then those that cost most.

    Args:
        found: in the order of their rules.
    """
    if not found:
        return ()
    worst = min(STAKES.index(one.stakes) for one in found)
    rivals = [one for one in found if STAKES.index(one.stakes) == worst]
    most = max(one.cost_share.value for one in rivals)
    dear = [one for one in rivals if one.cost_share.value >= ABOUT_THE_SAME * most]
    keeps_up = any(one.name == KEEPS_UP for one in dear)
    bound = next(one for one in dear if not keeps_up or _pays(one) or one.name == KEEPS_UP)
    rest = sorted((one for one in found if one is not bound), key=lambda one: -one.cost_share.value)
    return (bound, *rest)


def _pays(finding: Finding) -> bool:
    """Whether a remedy of it is worth a change, as far as that is predicted.

    Where the loader keeps up but for a few per cent, a cause of those is no verdict: it is listed
    after the one that there is nothing to fix.
    """
    gains = [one.gain.value for one in finding.remedies if one.gain is not None]
    return max(gains, default=0.0) >= 1 + LITTLE


def headline(bound: Finding) -> str:
    """The sentence of the finding, and what to do first, unless that may as well lose."""
    best = next((one for one in bound.remedies if one.gain is not None), None)
    if best is None or best.gain is None or best.gain.low < LEAST_GAIN:
        return bound.sentence
    how = "measured" if best.measured else "predicted"
    return f"{bound.sentence} {best.change}: {gain(best.gain.value)} {how}."


def confidence(findings: tuple[Finding, ...]) -> float:
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


def without(verdict: Verdict, ignored: frozenset[str]) -> Verdict:
    """The verdict as it is without some of its findings; what was left out is named in it.

    Args:
        verdict: with all its findings.
        ignored: names of findings.
    """
    dropped = tuple(one.name for one in verdict.findings if one.name in ignored)
    if not dropped:
        return verdict
    kept = tuple(one for one in verdict.findings if one.name not in ignored)
    left = msgspec.structs.replace(verdict, findings=kept, ignored=dropped)
    if verdict.abstains or verdict.findings[0].name not in dropped:
        return left
    if not kept:
        why = f"All that was found was to be ignored: {', '.join(dropped)}."
        return msgspec.structs.replace(
            left, name="not_enough_evidence", headline=why, abstains=why, confidence=0.0
        )
    kept = bound_first(kept)
    return msgspec.structs.replace(
        left,
        name=kept[0].name,
        findings=kept,
        headline=headline(kept[0]),
        confidence=confidence(kept),
    )
