"""How a case is read: whose cores, whose waits, whose computing."""

from typing import Any

import msgspec
import pytest
from insight_traces import case_of, trace_of

from wellfed._insight.supply import (
    blocked_share,
    ceiling,
    computes,
    lost_share,
    neighbour_cores,
    respawn_s,
    respawn_share,
    unseen_cores,
    usable_cores,
)
from wellfed.records import Case, Estimate, Fact, Plan


def case(**stats: Any) -> Case:
    plan = Plan(workers=2, prefetch=2, start_method="fork")
    made = case_of(trace_of(plan, [0.02] * 40, [0.01] * 40), cores=8)

    return msgspec.structs.replace(made, stats=msgspec.structs.replace(made.stats, **stats))


def with_machine(made: Case, **facts: Fact[Any]) -> Case:
    return msgspec.structs.replace(made, machine=msgspec.structs.replace(made.machine, **facts))


def test_a_device_that_never_stalled_lost_nothing_however_long_the_host_waited() -> None:
    waited = Estimate(value=0.8, low=0.78, high=0.82)
    busy = case(wait_share=waited, device_stall_share=0.0)

    assert lost_share(busy).value == 0
    assert ceiling(busy).value == 1


def test_the_ceiling_of_a_device_follows_its_stalls_not_the_waits() -> None:
    waited = Estimate(value=0.8, low=0.78, high=0.82)

    assert ceiling(case(wait_share=waited, device_stall_share=0.2)).value == pytest.approx(1.25)
    assert ceiling(case(wait_share=waited)).value == pytest.approx(5)


def test_cores_beyond_a_quota_are_no_loss_when_neighbours_use_them() -> None:
    quota = with_machine(
        case(gauges={"neighbour_busy_cores": 30.0}),
        cpus_affinity=Fact(value=64, how="planted"),
        cpus_usable=Fact(value=8.0, how="planted"),
    )

    assert neighbour_cores(quota) == 0


def test_neighbours_cannot_take_more_cores_than_there_are() -> None:
    assert neighbour_cores(case(gauges={"neighbour_busy_cores": 30.0})) == 8


def test_ranks_of_one_run_share_the_cores_and_are_no_neighbours() -> None:
    alone = case(gauges={"neighbour_busy_cores": 2.0})
    of_four = msgspec.structs.replace(
        alone, trace=msgspec.structs.replace(alone.trace, local_world=4)
    )

    assert usable_cores(of_four) == usable_cores(alone) / 4
    assert neighbour_cores(of_four) < neighbour_cores(alone)


def test_decoding_in_other_threads_is_computing() -> None:
    own = case(maker_off_share=0.9, maker_cpu_share=0.1, native_cpu_share=8.0)
    waits = case(maker_off_share=0.9, maker_cpu_share=0.1, native_cpu_share=0.0)

    assert blocked_share(own) == pytest.approx(0.1)
    assert computes(own)
    assert not computes(waits)


def test_cores_that_no_span_accounts_for_are_seen_by_the_gauge() -> None:
    assert unseen_cores(case(gauges={"own_busy_cores": 7.0})) == pytest.approx(4)
    assert unseen_cores(case()) == 0


def test_an_epoch_that_starts_nothing_anew_costs_nothing_to_start() -> None:
    once = case(startup_s=Estimate(value=5.0, low=4.0, high=6.0), epoch_s=10.0)

    assert respawn_s(once) == 0
    assert respawn_share(once) == 0
