"""When there is no verdict: too little was seen, or too much else was going on."""

from wellfed._insight.supply import lost_share, neighbour_cores, usable_cores
from wellfed.records import Case, Finding, Verdict
from wellfed.records.amounts import share

__all__ = ["not_enough_evidence", "too_noisy"]

# Fewer steady batches than this say nothing about the next one.
FEWEST_BATCHES = 8

# The share of waiting must be known to within ten points, or the loss may be small or large.
WAIT_POINTS = 0.10

# Others that keep a quarter of the usable cores busy may decide what is fast here.
NEIGHBOURS = 0.25

# Findings about CPU that a neighbour's load could have caused.
OF_CPU = frozenset({"cpu_underprovisioned", "cpu_saturated"})


def not_enough_evidence(batches: int, case: Case | None = None) -> Verdict:
    """WF902: nothing can be said from so few batches, or no rule knows what was seen."""
    if case is None or batches < FEWEST_BATCHES:
        why = (
            f"only {batches} batches were seen in steady state, and {FEWEST_BATCHES} are needed. "
            "Watch more of them: a longer run, --seconds or --steps."
        )
    else:
        why = (
            f"{share(lost_share(case).value)} of the time is lost to data, and no known cause fits "
            "what was seen. The evidence is in the report: --json FILE."
        )
    return Verdict(name="not_enough_evidence", headline=why, abstains=why)


def too_noisy(case: Case, findings: tuple[Finding, ...]) -> Verdict | None:
    """WF901: what was measured would be another number in a minute."""
    if case.stats.batches < FEWEST_BATCHES:
        return not_enough_evidence(case.stats.batches, case)
    lost = lost_share(case)
    points = (lost.high - lost.low) / 2
    near = neighbour_cores(case)
    if points > WAIT_POINTS and lost.low < 2 * points:
        why = (
            f"the share of waiting is only known as {share(lost.low)} to {share(lost.high)}. "
            "Watch longer, or when the machine is quieter."
        )
    elif findings and findings[0].name in OF_CPU and near > NEIGHBOURS * usable_cores(case):
        why = (
            f"other processes keep {near:.1f} of {usable_cores(case):g} usable cores busy, so it "
            "cannot be told what this run alone would do. Try when the machine is quieter."
        )
    else:
        return None
    return Verdict(name="too_noisy", headline=why, findings=findings, abstains=why)
