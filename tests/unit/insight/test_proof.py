"""The lines of the ladder add up, and the verdict follows what they say."""

from typing import Any

import msgspec
import pytest
from insight_traces import case_of, trace_of

from wellfed._insight.ladder import costs_of, is_clear, name_of
from wellfed._insight.proof import follow
from wellfed.records import (
    Case,
    Estimate,
    Failed,
    Finding,
    Measured,
    Plan,
    Proof,
    Remedy,
    Trial,
    Verdict,
)
from wellfed.records.proof import RUNGS

TWO = Plan(workers=2, prefetch=2, start_method="fork")


def est(value: float, low: float | None = None, high: float | None = None) -> Estimate:
    return Estimate(
        value=value,
        low=value if low is None else low,
        high=value if high is None else high,
    )


def around(value: float, spread: float = 0.01, n: int = 48) -> list[float]:
    return [value * (1 + spread * (-1) ** k) for k in range(n)]


def readings(*milliseconds: float, rungs: tuple[str, ...] = RUNGS) -> dict[str, list[float]]:
    return {rung: around(ms / 1e3) for rung, ms in zip(rungs, milliseconds, strict=True)}


def case() -> Case:
    return case_of(trace_of(TWO, [0.2] * 60, [0.01] * 60))


def finding(name: str, *remedies: Remedy, code: str = "WF000") -> Finding:
    return Finding(
        code=code, name=name, sentence=f"{name}.", cost_share=est(0.5), remedies=remedies
    )


def verdict(*findings: Finding) -> Verdict:
    return Verdict(
        name=findings[0].name, headline="first", findings=findings, ceiling=est(2.0), confidence=0.7
    )


def proof(*milliseconds: float, fidelity: float = 1.0, trials: tuple[Trial, ...] = ()) -> Proof:
    period, costs = costs_of(readings(*milliseconds))
    return Proof(
        trials=trials,
        period_s=period,
        costs=costs,
        named=name_of(period, costs),
        fidelity=fidelity,
    )


LADDERS = {
    "storage": (100, 40, 38, 36, 34, 32, 30),
    "compute": (100, 99, 45, 40, 38, 35, 30),
    "waiting": (100, 99, 95, 40, 38, 35, 30),
    "hand_over": (100, 99, 95, 90, 40, 35, 30),
    "collate": (100, 99, 95, 90, 86, 35, 30),
    "floor": (100, 99, 95, 90, 88, 85, 30),
    "step": (100, 100, 99.5, 99, 98.5, 98.5, 98),
}


@pytest.mark.parametrize("name", LADDERS)
def test_the_largest_cost_is_named(name: str) -> None:
    assert proof(*LADDERS[name]).named == name


@pytest.mark.parametrize("name", LADDERS)
def test_the_lines_add_up_to_the_period(name: str) -> None:
    made = proof(*LADDERS[name])

    assert made.period_s is not None
    assert sum(cost.seconds.value for cost in made.costs) == pytest.approx(
        made.period_s.value, rel=1e-12
    )
    assert made.costs[-1].name == "step"


def test_two_costs_of_one_size_are_not_told_apart() -> None:
    assert proof(100, 99, 70, 42, 40, 35, 30).named == ""


@pytest.mark.parametrize(
    ("ladder", "clear"),
    [
        (LADDERS["waiting"], True),
        (LADDERS["step"], True),
        ((100, 99, 70, 42, 40, 35, 30), False),
    ],
)
def test_one_cost_is_clear_where_no_other_comes_near(
    ladder: tuple[float, ...], clear: bool
) -> None:
    assert is_clear(readings(*ladder)) is clear


def test_noise_is_not_clear() -> None:
    noisy = {
        rung: around(ms / 1e3, 0.9, 6) for rung, ms in zip(RUNGS, LADDERS["waiting"], strict=True)
    }

    assert not is_clear(noisy)


def test_rungs_that_do_not_exist_leave_no_line() -> None:
    ran = ("as_is", "waits", "memoised", "tiny", "cached")
    _, costs = costs_of(readings(100, 60, 50, 40, 30, rungs=ran))

    assert [one.name for one in costs] == ["compute", "waiting", "collate", "floor", "step"]


def test_rungs_that_failed_leave_their_costs_together() -> None:
    ran = ("as_is", "tiny", "cached")
    period, costs = costs_of(
        readings(100, 40, 30, rungs=ran), failed=("waits", "memoised", "collated")
    )

    assert [one.name for one in costs] == ["compute+waiting+hand_over+collate", "floor", "step"]
    assert sum(one.seconds.value for one in costs) == pytest.approx(period.value)


def test_a_ladder_that_did_not_reach_the_step_names_nothing() -> None:
    period, costs = costs_of(readings(100, 40, rungs=("as_is", "waits")))

    assert costs[-1].name == "rest"
    assert name_of(period, costs) == ""


@pytest.mark.parametrize(
    ("first", "ladder", "then"),
    [
        ("latency_bound", "waiting", "latency_bound"),
        ("latency_bound", "compute", "cpu_saturated"),
        ("cpu_underprovisioned", "compute", "cpu_underprovisioned"),
        ("cpu_underprovisioned", "waiting", "latency_bound"),
        ("consumer_bound", "hand_over", "transport_bytes"),
        ("transport_bytes", "step", "consumer_bound"),
        ("startup_respawn", "compute", "startup_respawn"),
    ],
)
def test_the_verdict_follows_the_experiments(first: str, ladder: str, then: str) -> None:
    told, seen = follow(case(), verdict(finding(first)), proof(*LADDERS[ladder]))

    assert told.name == then
    assert told.findings[0].name == then
    assert seen.first_name == first
    assert seen.overruled is (then != first)
    assert ("overruled the first reading" in told.headline) is (then != first)


def test_a_finding_that_was_there_is_put_first_before_a_new_one_is_made() -> None:
    remedy = Remedy(change="theirs")
    given = verdict(finding("latency_bound"), finding("cpu_quota", remedy))

    told, _ = follow(case(), given, proof(*LADDERS["compute"]))

    assert [one.name for one in told.findings] == ["cpu_quota", "latency_bound"]
    assert told.findings[0].remedies == (remedy,)


def test_what_was_confirmed_is_more_certain_and_says_what_was_measured() -> None:
    told, _ = follow(case(), verdict(finding("latency_bound")), proof(*LADDERS["waiting"]))

    assert told.confidence >= 0.9
    assert told.findings[0].evidence[0].text.startswith("measured: waiting inside samples costs")


def test_a_replay_that_is_not_the_run_overrules_nothing() -> None:
    given = verdict(finding("latency_bound"))

    told, seen = follow(case(), given, proof(*LADDERS["compute"], fidelity=2.0))

    assert told.name == "latency_bound"
    assert not seen.overruled
    assert told.confidence == given.confidence


def test_no_verdict_becomes_one_where_the_experiments_decide() -> None:
    none = Verdict(name="too_noisy", headline="", abstains="too noisy")

    told, seen = follow(case(), none, proof(*LADDERS["waiting"]))

    assert told.name == "latency_bound"
    assert told.abstains == ""
    assert len(told.knobs) == 4
    assert seen.overruled
    assert "decided it" in told.headline


def test_workers_that_slow_the_step_are_told() -> None:
    outcome = Measured(seconds=est(0.1), effect=est(1.2, 1.1, 1.3), batches=48)
    shadow = Trial(name="shadow", kind="shadow", question="", outcome=outcome)

    told, _ = follow(
        case(), verdict(finding("consumer_bound")), proof(*LADDERS["step"], trials=(shadow,))
    )

    texts = [one.text for one in told.findings[0].evidence]
    assert "measured: beside working workers the step takes +20 %" in texts


def test_experiments_that_failed_leave_the_verdict_alone() -> None:
    given = verdict(finding("latency_bound"))
    failed = Trial(name="as_is", kind="rung", question="", outcome=Failed(why="ValueError: no"))

    told, seen = follow(case(), given, Proof(trials=(failed,)))

    assert told.name == "latency_bound"
    assert seen.untested == (("as_is", "ValueError: no"),)


def factor(name: str, gain: Estimate, plan: Plan | None = None) -> Trial:
    outcome = Measured(seconds=est(0.1), against_s=est(0.1), effect=gain, batches=48)
    return Trial(name=name, kind="factor", question="", plan=plan, outcome=outcome)


def test_a_measured_gain_takes_the_place_of_the_predicted_one_and_keeps_it() -> None:
    plan = msgspec.structs.replace(TWO, workers=4)
    remedy = Remedy(change="num_workers=4", plan=plan, gain=est(2.0))
    tried = factor("num_workers=4", est(1.8, 1.7, 1.9), plan)

    told, _ = follow(
        case(),
        verdict(finding("latency_bound", remedy)),
        proof(*LADDERS["waiting"], trials=(tried,)),
    )

    (after,) = told.findings[0].remedies
    assert (after.gain, after.measured, after.predicted) == (est(1.8, 1.7, 1.9), True, est(2.0))
    assert "num_workers=4: 1.8x measured" in told.headline


def test_a_remedy_that_gained_nothing_comes_last() -> None:
    plan = msgspec.structs.replace(TWO, workers=4)
    remedies = (Remedy(change="num_workers=4", plan=plan, gain=est(2.0)), Remedy(change="another"))
    tried = factor("num_workers=4", est(1.0, 0.98, 1.01), plan)

    told, _ = follow(
        case(),
        verdict(finding("latency_bound", *remedies)),
        proof(*LADDERS["waiting"], trials=(tried,)),
    )

    assert [one.change for one in told.findings[0].remedies] == ["another", "num_workers=4"]


@pytest.mark.parametrize(
    ("gain", "then"),
    [(est(1.0, 0.98, 1.02), "cpu_saturated"), (est(1.9, 1.8, 2.0), "affinity_pinned")],
)
def test_a_cause_stands_or_falls_with_the_trial_that_takes_it_away(
    gain: Estimate, then: str
) -> None:
    given: Any = verdict(finding("affinity_pinned", Remedy(change="unpin")))
    tried = factor("all cores for each worker", gain)

    told, _ = follow(case(), given, proof(*LADDERS["compute"], trials=(tried,)))

    assert told.name == then
