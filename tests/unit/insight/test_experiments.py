"""Which experiments a case calls for, and when enough is known."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from insight_traces import case_of, trace_of

from wellfed._insight.deciding import (
    block_batches,
    decided,
    delay_decided,
    delay_share,
    epoch_gain,
    factor_decided,
    replayed_steps,
    slope,
)
from wellfed._insight.diagnose import build_case, judge
from wellfed._insight.experiments import Experiment, choose, expected_s
from wellfed._insight.spending import starting_s
from wellfed.records import Case, Estimate, Fact, Forecast, Plan, Report, load

TRACES = Path(__file__).parents[2] / "golden" / "traces"
TWO = Plan(workers=2, prefetch=2, start_method="fork")


def recorded(name: str) -> Case:
    report: Report = load(TRACES / f"{name}.json.gz")
    case = build_case(report.machine, report.workload, report.trace, np.random.default_rng(0))
    assert case is not None
    return case


def chosen(case: Case, **more: Any) -> dict[str, Experiment]:
    return {one.name: one for one in choose(case, judge(case), **{"budget_s": 60.0, **more})}


def around(value: float, spread: float = 0.01, n: int = 48) -> list[float]:
    return [value * (1 + spread * (-1) ** k) for k in range(n)]


def test_the_ladder_comes_first_and_ends_with_the_step_alone() -> None:
    kinds = [one.kind for one in choose(recorded("remote"), judge(recorded("remote")), budget_s=60)]
    rungs = [name for name, one in chosen(recorded("remote")).items() if one.kind == "rung"]

    assert kinds[: len(rungs)] == ["rung"] * len(rungs)
    assert rungs == ["as_is", "warm", "waits", "memoised", "collated", "tiny", "cached"]


def test_without_workers_nothing_is_handed_over() -> None:
    found = chosen(recorded("remote_no_workers"))

    assert "collated" not in found
    assert found["delay.worker"].veto


def test_storage_is_told_apart_only_where_files_were_opened() -> None:
    assert not chosen(recorded("slow_disk"))["warm"].veto
    assert chosen(recorded("one_worker_computes"))["warm"].veto == "no file was seen to be opened"


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("pinned_to_one_core", "all cores for each worker"),
        ("native_threads", "one thread a worker"),
        ("uneven_batches", "in_order=False"),
    ],
)
def test_a_cause_that_the_verdict_names_is_tried(name: str, factor: str) -> None:
    assert not chosen(recorded(name))[factor].veto
    assert chosen(recorded("big_model"))[factor].veto


def test_the_remedy_of_the_verdict_is_tried() -> None:
    case = recorded("one_worker_computes")
    remedy = judge(case).findings[0].remedies[0]

    assert chosen(case)[remedy.change].plan == remedy.plan


def test_nothing_is_tried_twice() -> None:
    case = recorded("uneven_batches")
    plans = [one.plan for one in choose(case, judge(case), budget_s=60) if one.plan is not None]

    assert len(plans) == len(set(plans))


def test_a_setting_that_the_model_expects_nothing_of_is_listed_and_not_tried() -> None:
    case = case_of(trace_of(TWO, around(0.02), around(0.01)))
    deeper = msgspec.structs.replace(TWO, prefetch=8)
    for gain, tried in ((1.01, False), (1.3, True)):
        forecast = Forecast(plan=deeper, gain=Estimate(value=gain, low=gain, high=gain))
        told = msgspec.structs.replace(case, forecasts=(forecast,))

        assert bool(chosen(told)["prefetch_factor=8"].veto) is not tried


def memory(case: Case, available: int) -> Case:
    machine = msgspec.structs.replace(
        case.machine, memory_available_bytes=Fact(value=available, how="test")
    )
    return msgspec.structs.replace(case, machine=machine)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda case: memory(case, 10**8), "it needs"),
        (
            lambda case: msgspec.structs.replace(
                case, trace=msgspec.structs.replace(case.trace, world=2)
            ),
            "the other ranks",
        ),
    ],
)
def test_what_cannot_be_run_at_all_is_vetoed_with_one_reason(change: Any, why: str) -> None:
    case = change(recorded("remote"))

    assert {one.veto[: len(why)] for one in choose(case, judge(case), budget_s=60)} == {why}


def test_a_remedy_that_needs_too_much_memory_is_not_tried() -> None:
    case = recorded("one_worker_computes")
    change = judge(case).findings[0].remedies[0].change
    free = next(n for n in range(10**8, 10**10, 10**7) if not chosen(memory(case, n))["as_is"].veto)

    found = chosen(memory(case, free))

    assert found[change].veto.startswith("it needs")
    assert not found["as_is"].veto


def test_a_budget_that_one_round_exceeds_is_not_begun() -> None:
    found = chosen(recorded("remote"), budget_s=0.5)

    assert all("one round of it takes" in one.veto for one in found.values())


def test_a_refused_loader_is_left_alone() -> None:
    found = chosen(recorded("remote"), refused="it says so")

    assert {one.veto for one in found.values()} == {"it says so"}
    assert expected_s(recorded("remote"), tuple(found.values()), 60) == 0


def test_workers_are_expected_to_start_as_those_of_the_run_did() -> None:
    case = recorded("remote")
    startup = case.stats.startup_s
    assert startup is not None
    more = msgspec.structs.replace(case.plan, workers=4 * case.plan.workers)
    spawned = msgspec.structs.replace(more, start_method="spawn")

    assert starting_s(case, more) == pytest.approx(4 * startup.value)
    assert starting_s(case, spawned) > more.workers


@pytest.mark.parametrize("name", ["remote", "rows_four_workers", "big_model", "slow_disk"])
def test_a_stretch_is_whole_turns_of_the_workers(name: str) -> None:
    case = recorded(name)
    batches = block_batches(case)

    assert batches % max(1, case.plan.workers) == 0
    assert 12 <= batches <= 124


@pytest.mark.parametrize(("spread", "known"), [(0.01, True), (0.6, False)])
def test_the_ladder_is_decided_once_each_rung_is_known(spread: float, known: bool) -> None:
    rng = np.random.default_rng(0)

    def noisy(value: float) -> list[float]:
        return [value * max(0.1, 1 + spread * float(one)) for one in rng.standard_normal(48)]

    assert decided({"as_is": noisy(0.1), "waits": noisy(0.1), "cached": noisy(0.05)}) is known


def test_a_ladder_without_its_ends_is_never_decided() -> None:
    assert not decided({"as_is": around(0.1), "waits": around(0.1)})


@pytest.mark.parametrize(("spread", "share"), [(0.001, 0.05), (0.02, 0.16), (0.5, 0.25)])
def test_a_delay_is_as_small_as_the_noise_allows(spread: float, share: float) -> None:
    period = Estimate(value=1.0, low=1 - spread, high=1 + spread)

    assert delay_share(period) == pytest.approx(share)


@pytest.mark.parametrize("reaches", [0.0, 1.0])
def test_a_slope_is_the_share_of_the_delay_that_shows(reaches: float) -> None:
    shown = slope(around(0.1), around(0.1 + reaches * 0.01), 0.01)

    assert shown.value == pytest.approx(reaches, abs=1e-6)
    assert delay_decided(around(0.1), around(0.1 + reaches * 0.01), 0.01)


def test_a_delay_that_shows_in_much_noise_is_not_decided() -> None:
    rng = np.random.default_rng(0)
    base, delayed = (list(mean + 0.05 * rng.standard_normal(24)) for mean in (0.1, 0.2))

    assert slope(base, delayed, 0.01).low > 1
    assert not delay_decided(base, delayed, 0.01)


@pytest.mark.parametrize(("to", "known"), [(0.05, True), (0.1, True), (0.2, True)])
def test_a_factor_is_decided_by_gain_loss_or_evenness(to: float, known: bool) -> None:
    assert factor_decided(around(0.1), around(to)) is known


@pytest.mark.parametrize(
    ("start_s", "other_s", "gain"),
    [(0.5, 0.1, 1 / 0.6), (0.1, 0.1, 1.0), (0.1, 0.5, 1 / 1.4), (5.0, 0.1, 20.0)],
)
def test_another_start_gains_over_the_whole_epoch(
    start_s: float, other_s: float, gain: float
) -> None:
    start, other = (Estimate(value=one, low=one, high=one) for one in (start_s, other_s))

    assert epoch_gain(1.0, start, other).value == pytest.approx(gain)


def test_steps_are_replayed_with_the_cpu_they_used() -> None:
    trace = trace_of(TWO, [0.005] * 40, [0.02] * 40, step_cores=0.25)

    off_s, cpu_s = np.mean(replayed_steps(trace), axis=0)

    assert off_s == pytest.approx(0.015, rel=0.01)
    assert cpu_s == pytest.approx(0.005, rel=0.01)


def test_a_device_that_works_while_the_trainer_waits_has_the_longer_step() -> None:
    one = msgspec.structs.replace(TWO, workers=1)
    stalled = trace_of(one, [0.2] * 40, [0.01] * 40, step_cores=0.0, device_stall_ns=30_000_000)

    off_s, _ = np.mean(replayed_steps(stalled), axis=0)

    waits_s = 0.2 - 0.01  # for a worker that takes 200 ms, less the step
    assert off_s == pytest.approx(0.01 + waits_s - 0.03, rel=0.01)
