"""What the experiments showed, in the words of a card."""

from collections.abc import Mapping
from types import MappingProxyType

from wellfed._report.figures import Row
from wellfed.records import Cost, Estimate, Measured, Proof, Report, Trial
from wellfed.records.amounts import change, duration, share

__all__ = ["proof_rows", "untested_rows"]

COSTS: Mapping[str, str] = MappingProxyType(
    {
        "storage": "reading from storage",
        "compute": "CPU time of samples",
        "waiting": "samples that wait",
        "hand_over": "handing batches over",
        "collate": "collating",
        "floor": "queues and Python",
        "step": "your step alone",
        "rest": "the rest",
    }
)

# Below this share a line is not told from nothing, and a change from no change.
SLIGHT = 0.03

# A stage sets the pace if more than half of what is added to it reaches the trainer.
CRITICAL = 0.5


def proof_rows(report: Report) -> tuple[Row, ...]:
    """The ladder's lines, which add up to the period, and what the other experiments answered."""
    proof = report.proof
    if proof is None or proof.period_s is None:
        return ()
    period_s = proof.period_s.value
    lines = [_cost(one, period_s) for one in proof.costs]
    advised = {
        remedy.change for finding in report.verdict.findings[:1] for remedy in finding.remedies
    }
    answers = [
        row
        for trial in proof.trials
        if trial.name not in advised
        for row in (_answer(trial),)
        if row is not None
    ]
    whole = Row(label="a step, as is", amount=duration(period_s), text=_whole(proof))
    return (whole, *lines, *answers)


def _whole(proof: Proof) -> str:
    """How near the experiments were to the run."""
    took = f"measured in {duration(proof.spent_s)}"
    return took if proof.fidelity is None else f"{share(proof.fidelity)} of the run's; {took}"


def _cost(cost: Cost, period_s: float) -> Row:
    words = " and ".join(COSTS.get(part, part) for part in cost.name.split("+"))
    seconds = cost.seconds
    if abs(seconds.value) < SLIGHT * period_s and seconds.low <= 0:
        return Row(label=words, amount=duration(max(0.0, seconds.value)), text="none to speak of")
    return Row(label=words, amount=duration(seconds.value), text=_shares(seconds, period_s))


def _shares(seconds: Estimate, period_s: float) -> str:
    low, high = (share(max(0.0, one / period_s)) for one in (seconds.low, seconds.high))
    return f"{share(seconds.value / period_s)} of it, {low} to {high}"


def _answer(trial: Trial) -> Row | None:
    """What a shadow run, a delay or a factor answered; None for the rest."""
    outcome = trial.outcome
    if not isinstance(outcome, Measured) or outcome.effect is None:
        return None
    effect = outcome.effect
    between = f"{change(effect.low)} to {change(effect.high)}"
    if trial.kind in ("factor", "start"):
        return Row(label=trial.name, amount=change(effect.value), text=f"measured, {between}")
    if trial.kind == "shadow":
        return Row(
            label="your step beside workers",
            amount=share(effect.value),
            text=f"of its time alone, {share(effect.low)} to {share(effect.high)}",
        )
    workers = trial.name == "delay.worker"
    if effect.low > CRITICAL:
        says = "of it reaches you: " + ("they set the pace" if workers else "it sets the pace")
    elif effect.high < CRITICAL:
        says = "of it reaches you: something else sets the pace"
    else:
        says = "of it reaches you, which is too uncertain to tell"
    label = "a delay in the workers" if workers else "a delay in your loop"
    return Row(label=label, amount=share(max(0.0, effect.value)), text=says)


def untested_rows(report: Report) -> tuple[Row, ...]:
    """What was not tested; experiments with the same reason in one row."""
    reasons: dict[str, list[str]] = {}
    for name, why in report.proof.untested if report.proof is not None else ():
        reasons.setdefault(why, []).append(name)
    return tuple(Row(label=why, text=", ".join(names)) for why, names in reasons.items())
