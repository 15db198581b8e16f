"""Only legal plans are tried, none that does not fit, and only how batches are made differs."""

import msgspec
import numpy as np
import pytest

from recorded import recorded
from wellfed._insight.diagnose import build_case
from wellfed._tuner.readings import Reading
from wellfed._tuner.space import Space, own_space, space
from wellfed.records import Case, Fact


def case_of(name: str) -> Case:
    report = recorded(name)
    rng = np.random.default_rng(0)
    case = build_case(report.machine, report.workload, report.trace, rng)
    assert case is not None
    return case


def found(case: Case, spare_bytes: float | None = None) -> Space:
    return space(case, np.random.default_rng(0), spare_bytes=spare_bytes)


@pytest.mark.parametrize("name", ["one_worker_computes", "remote_no_workers", "uneven_batches"])
def test_the_present_plan_comes_first_and_no_plan_twice(name: str) -> None:
    case = case_of(name)
    plans = [one.plan for one in found(case).choices]

    assert plans[0] == case.plan
    assert len(plans) == len(set(plans))
    assert {plan.in_order for plan in plans} == {case.plan.in_order}
    assert all((plan.prefetch is None) == (plan.workers == 0) for plan in plans)
    assert max(plan.workers for plan in plans) > case.machine.cpus_usable.value  # type: ignore[operator]


def test_a_plan_beyond_the_memory_allowed_is_refused_with_the_numbers() -> None:
    tight = found(case_of("one_worker_computes"), spare_bytes=30e6)

    assert tight.choices[0].memory_bytes == 0
    assert all(one.memory_bytes <= 30e6 for one in tight.choices)
    assert tight.refused
    assert all("it would take" in why and "30 MB are left" in why for _, why in tight.refused)


def test_a_plan_that_the_machine_cannot_hold_is_refused() -> None:
    case = case_of("big_batches")
    machine = msgspec.structs.replace(
        case.machine, shm_free_bytes=Fact(value=2 * 10**8, how="test")
    )
    small = found(msgspec.structs.replace(case, machine=machine))

    assert any("shared memory" in why for _, why in small.refused)


def test_a_stream_keeps_its_number_of_workers() -> None:
    plans = [one.plan for one in found(case_of("many_shards")).choices]

    assert {plan.workers for plan in plans} == {2}


def test_wellfeds_plans_expect_what_torchs_were_measured_to_take() -> None:
    torchs = found(case_of("one_worker_computes"))
    two = next(one.plan for one in torchs.choices if one.plan.workers == 2)
    ours = own_space(torchs, [Reading(plan=two, seconds=0.125)])

    same = [one for one in ours.choices if one.plan.workers == 2]
    assert [one.seconds for one in same] == [0.125]
    assert {one.plan.backend for one in ours.choices} == {"inline", "processes"}
    assert not any(one.plan.threads for one in ours.choices)


def test_threads_are_tried_with_consent_only() -> None:
    torchs = found(case_of("remote_no_workers"))
    ours = own_space(torchs, [], lambda plan: 1 / plan.threads)

    assert {one.plan.threads for one in ours.choices} == {0, 8, 32, 128}
    threaded = [one for one in ours.choices if one.plan.threads]
    assert all(one.seconds == 1 / one.plan.threads for one in threaded)


def test_a_depth_that_was_best_for_torch_is_tried_for_wellfed_too() -> None:
    torchs = found(case_of("uneven_batches"))
    deep = next(one.plan for one in torchs.choices if one.plan.prefetch == 8)
    ours = own_space(torchs, [Reading(plan=deep, seconds=0.001)])

    assert {one.plan.prefetch for one in ours.choices if one.plan.workers} == {2, 8}
