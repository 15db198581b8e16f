"""What the outcomes of the experiments say, and which verdict follows from them. Pure.

    Proof, Verdict ─ follow ─► confirmed, or the finding that the experiments name; gains measured

Where the experiments do not decide, or were not of the run that was watched, the verdict stays.
"""

from collections.abc import Mapping, Sequence

import msgspec

from wellfed._insight.binding import headline
from wellfed._insight.estimate import divide
from wellfed._insight.knobs import knobs
from wellfed._insight.proven import proven
from wellfed._insight.supply import SIGNIFICANT, ceiling
from wellfed.records import (
    Case,
    Estimate,
    Evidence,
    Finding,
    Measured,
    Proof,
    Remedy,
    Trial,
    Verdict,
)
from wellfed.records.amounts import change, duration

__all__ = ["follow"]

CPU = frozenset(
    {
        "cpu_underprovisioned",
        "cpu_saturated",
        "cpu_quota",
        "thread_oversubscription",
        "affinity_pinned",
        "rank_oversubscription",
        "noisy_neighbour",
    }
)
OVERHEAD = frozenset({"in_memory_overhead", "per_item_overhead", "per_batch_overhead"})
ORDER = frozenset({"head_of_line", "burst_jitter"})
MOVING = frozenset({"transport_bytes", "transport_objects", "serialization_bound", "pin_bound"})
STORAGE = frozenset(
    {"latency_bound", "storage_bound", "read_amplification", "cold_cache_transient"}
    | {"cache_too_small"}
)

FAMILIES: Mapping[str, frozenset[str]] = {
    "storage": STORAGE,
    "waiting": STORAGE | ORDER | {"lock_serialised"},
    "compute": CPU | OVERHEAD | ORDER | {"read_amplification", "lock_serialised"},
    "hand_over": MOVING | OVERHEAD,
    "collate": MOVING | OVERHEAD | CPU | {"collate_bound"},
    "floor": OVERHEAD | {"transport_objects"},
    "step": frozenset({"consumer_bound", "interference", "blocking_copy"}),
}
"""The verdicts that agree with a largest cost."""

SEEN_BY_THE_LADDER = frozenset().union(*FAMILIES.values())
"""Any other verdict (start-up, memory, ranks, the sampler, whose indices are drawn before) is about
what the ladder does not show."""

PROVEN_BY_FACTOR: Mapping[str, str] = {
    "affinity_pinned": "all cores for each worker",
    "thread_oversubscription": "one thread a worker",
    "head_of_line": "in_order=False",
}
"""Verdicts that stand or fall with one trial."""

ABSTENTIONS = frozenset({"too_noisy", "not_enough_evidence"})

# A replay this far from the run is another run: it may confirm, and must not overrule.
FAITHFUL = (0.75, 1.33)

# Below this, caches and clocks alone may slow a step that does not run alone.
INTERFERES = 0.03

CONFIRMED = 0.9
"""The least confidence of a verdict that the experiments agree with."""


def follow(case: Case, verdict: Verdict, proof: Proof) -> tuple[Verdict, Proof]:
    """The verdict after the experiments, and the proof that says what became of it."""
    findings = tuple(_with_gains(one, proof.trials) for one in verdict.findings)
    bound = _bound(case, verdict, findings, proof)
    proof = msgspec.structs.replace(proof, first_name=verdict.name)
    if bound is None:
        changed = msgspec.structs.replace(verdict, findings=findings)
        return _said(changed, proof, verdict.confidence), proof
    proof = msgspec.structs.replace(proof, overruled=bound.name != verdict.name)
    rest = tuple(one for one in findings if one.name != bound.name)
    changed = msgspec.structs.replace(
        verdict,
        name=bound.name,
        findings=(_with_evidence(bound, proof), *rest),
        abstains="",
        knobs=verdict.knobs or knobs(case),
        ceiling=verdict.ceiling or ceiling(case),
    )
    confirmed = max(CONFIRMED, verdict.confidence) if _faithful(proof) else verdict.confidence
    return _said(changed, proof, confirmed), proof


def _bound(
    case: Case, verdict: Verdict, findings: Sequence[Finding], proof: Proof
) -> Finding | None:
    """The finding that the experiments speak for; None if they leave the verdict alone."""
    refuted = {name for name, trial in PROVEN_BY_FACTOR.items() if _gains_nothing(proof, trial)}
    first = next((one for one in findings if one.name == verdict.name), None)
    if not proof.named:
        return None
    outside = first is not None and first.name not in SEEN_BY_THE_LADDER
    if outside:
        return None
    agree = frozenset().union(*(FAMILIES[part] for part in proof.named.split("+")))
    if first is not None and first.name in agree and first.name not in refuted:
        return first
    if not _faithful(proof):
        return None
    other = next((one for one in findings if one.name in agree and one.name not in refuted), None)
    return other if other is not None else proven(case, proof)


def _gains_nothing(proof: Proof, name: str) -> bool:
    """Whether a trial of that name ran and showed that it gains nothing."""
    return any(
        isinstance(one.outcome, Measured)
        and one.outcome.effect is not None
        and one.outcome.effect.high < 1 + SIGNIFICANT
        for one in proof.trials
        if one.name == name
    )


def _faithful(proof: Proof) -> bool:
    return proof.fidelity is not None and FAITHFUL[0] <= proof.fidelity <= FAITHFUL[1]


def _with_evidence(bound: Finding, proof: Proof) -> Finding:
    """The finding with what the experiments measured, in front."""
    if proof.period_s is None:
        return bound
    named = next((one for one in proof.costs if one.name == proof.named), None)
    if named is None:
        return bound
    part = divide(_positive(named.seconds), proof.period_s)
    whole_s = proof.period_s.value
    took, whole = duration(min(named.seconds.value, whole_s)), duration(whole_s)
    what = "your step alone takes" if named.name == "step" else f"{_words(named.name)} costs"
    text = f"measured: {what} {took} of {whole}"
    evidence = Evidence(text=text, value=part.value, low=part.low, high=part.high)
    beside = _beside_workers(proof)
    return msgspec.structs.replace(bound, evidence=(evidence, *beside, *bound.evidence))


def _beside_workers(proof: Proof) -> tuple[Evidence, ...]:
    """That working workers slow the step, if they clearly do and it is what matters."""
    for trial in proof.trials if proof.named == "step" else ():
        if trial.kind == "shadow" and isinstance(trial.outcome, Measured):
            slower = trial.outcome.effect
            if slower is not None and slower.low > 1 + INTERFERES:
                text = f"measured: beside working workers the step takes {change(slower.value)}"
                return (Evidence(text=text, value=slower.value, low=slower.low, high=slower.high),)
    return ()


def _words(name: str) -> str:
    return " and ".join(_WORDS[one] for one in name.split("+"))


_WORDS = {
    "storage": "reading from storage",
    "compute": "computing samples",
    "waiting": "waiting inside samples",
    "hand_over": "handing batches over",
    "collate": "collating",
    "floor": "what Python does around a batch",
}


def _positive(cost: Estimate) -> Estimate:
    return Estimate(
        value=max(0.0, cost.value), low=max(0.0, cost.low), high=max(0.0, cost.high), n=cost.n
    )


def _with_gains(finding: Finding, trials: Sequence[Trial]) -> Finding:
    """The finding with measured gains where there are some, the best remedy first."""
    remedies = [_measured(finding, place, trials) for place in range(len(finding.remedies))]
    useless = [one for one in remedies if one.measured and one.gain and one.gain.value < 1.02]
    kept = [one for one in remedies if one not in useless]
    return msgspec.structs.replace(finding, remedies=(*kept, *useless))


def _measured(finding: Finding, place: int, trials: Sequence[Trial]) -> Remedy:
    remedy = finding.remedies[place]
    proving = PROVEN_BY_FACTOR.get(finding.name) if place == 0 else None
    for trial in trials:
        if trial.kind not in ("factor", "start") or not isinstance(trial.outcome, Measured):
            continue
        same = remedy.plan is not None and trial.plan == remedy.plan
        if (same or trial.name == proving) and trial.outcome.effect is not None:
            return msgspec.structs.replace(
                remedy, gain=trial.outcome.effect, measured=True, predicted=remedy.gain
            )
    return remedy


def _said(verdict: Verdict, proof: Proof, confidence: float) -> Verdict:
    """The verdict with a headline that says what the experiments changed."""
    bound = next((one for one in verdict.findings if one.name == verdict.name), None)
    if bound is None:
        return verdict
    sentence = headline(bound)
    if proof.overruled and proof.first_name in ABSTENTIONS:
        sentence += " Experiments decided it: watching alone gave no verdict."
    elif proof.overruled:
        sentence += f" Experiments overruled the first reading, {proof.first_name}."
    return msgspec.structs.replace(verdict, headline=sentence, confidence=confidence)
