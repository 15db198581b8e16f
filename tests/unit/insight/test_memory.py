from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from insight_traces import case_of, trace_of

from wellfed._insight.memory import fit, growth_bytes_per_s, memory_use
from wellfed.records import Case, Fact, Gauge, Plan

GB, MB = 1e9, 1e6


def torchs(workers: int, prefetch: int = 2, **fields: object) -> Plan:
    return msgspec.structs.replace(
        Plan(workers=workers, prefetch=prefetch if workers else None, start_method="fork"),
        **fields,
    )


def case_with(
    workers: float = 2,
    *,
    batch_bytes: float = 10 * MB,
    private_bytes: float = 0.0,
    **facts: float,
) -> Case:
    trace = trace_of(
        torchs(int(workers)),
        [0.08] * 60,
        [0.02] * 60,
        payload_bytes=round(batch_bytes),
        tensors=2,
    )
    case = case_of(trace)
    gauges = {"workers_private_bytes": private_bytes} if private_bytes else {}
    machine = msgspec.structs.replace(
        case.machine, **{name: Fact(value=value, how="test") for name, value in facts.items()}
    )
    stats = msgspec.structs.replace(case.stats, gauges=gauges)
    return msgspec.structs.replace(case, stats=stats, machine=machine)


def test_torch_has_every_batch_made_ahead_in_shared_memory_and_one_with_the_trainer() -> None:
    use = memory_use([case_with()], torchs(4, 3))

    assert use.shared_bytes == use.batches_bytes == 13 * 10 * MB


def test_one_measured_number_of_workers_is_a_proportion() -> None:
    use = memory_use([case_with(2, private_bytes=80 * MB)], torchs(6))

    assert use.workers_bytes == pytest.approx(240 * MB)


def test_several_measured_numbers_of_workers_are_a_line() -> None:
    cases = [case_with(workers, private_bytes=(90 + 63 * workers) * MB) for workers in (1, 2, 6)]

    assert memory_use(cases, torchs(4)).workers_bytes == pytest.approx(342 * MB)


def test_without_workers_nothing_is_shared() -> None:
    use = memory_use([case_with()], Plan())

    assert (use.workers_bytes, use.shared_bytes, use.descriptors) == (0, 0, 0)
    assert use.total_bytes == 30 * MB


def test_spawned_workers_take_more_than_forked_ones() -> None:
    forked, spawned = (
        memory_use([case_with(0)], torchs(4, start_method=method)) for method in ("fork", "spawn")
    )

    assert spawned.total_bytes > forked.total_bytes + 4 * 100 * MB


def test_pinned_copies_are_rounded_up_to_powers_of_two() -> None:
    use = memory_use([case_with()], torchs(2, 2, pin_memory=True))

    assert use.pinned_bytes == 5 * 2 * 2**23


@given(
    workers=st.integers(0, 16),
    prefetch=st.integers(1, 8),
    more=st.integers(0, 4),
    backend=st.sampled_from(["torch", "processes"]),
)
def test_more_of_anything_never_takes_less(
    workers: int, prefetch: int, more: int, backend: str
) -> None:
    cases = [case_with(2, private_bytes=80 * MB)]

    less, wider, deeper = (
        memory_use(cases, torchs(w, p, backend=backend))
        for w, p in (
            (max(1, workers), prefetch),
            (max(1, workers) + more, prefetch),
            (max(1, workers), prefetch + more),
        )
    )

    assert less.total_bytes <= wider.total_bytes
    assert less.total_bytes <= deeper.total_bytes
    assert less.descriptors <= wider.descriptors


def test_what_was_not_read_limits_nothing() -> None:
    assert fit([case_with()], torchs(64, 64)).fits


@pytest.mark.parametrize(
    ("facts", "limit"),
    [
        ({"memory_available_bytes": 1 * GB}, "memory"),
        ({"memory_limit_bytes": 2 * GB, "memory_used_bytes": 1 * GB}, "memory"),
        ({"shm_free_bytes": 64 * MB}, "shared memory"),
        ({"fd_limit": 300}, "open files"),
    ],
)
def test_the_limit_that_is_passed_is_named_with_the_nearest_plan_within_it(
    facts: dict[str, float], limit: str
) -> None:
    cases = [case_with(**facts)]

    seen = fit(cases, torchs(16, 8))

    assert (seen.fits, seen.limit) == (False, limit)
    assert seen.short > 0
    assert seen.nearest is not None
    assert fit(cases, seen.nearest).fits
    assert limit in str(seen)


def test_prefetching_is_given_up_before_workers() -> None:
    cases = [case_with(private_bytes=80 * MB, shm_free_bytes=200 * MB)]

    assert fit(cases, torchs(8, 4)).nearest == torchs(8, 1)


def test_our_slabs_need_no_shared_memory_folder() -> None:
    assert fit([case_with(shm_free_bytes=64 * MB)], torchs(8, 4, backend="processes")).fits


def test_growth_is_the_slope_of_the_later_half() -> None:
    at_ns = tuple(range(0, 40_000_000_000, 5_000_000_000))
    values = (0.0, 50e6, 90e6, 99e6, 100e6, 105e6, 110e6, 115e6)
    gauge = Gauge(name="workers_private_bytes", how="test", at_ns=at_ns, values=values)

    assert growth_bytes_per_s([gauge]) == pytest.approx(1e6, rel=0.05)
    assert growth_bytes_per_s([]) == 0


def grown(**changed: Any) -> float:
    """Growth of two workers that grew by 1 MB/s in all while they were watched."""
    seconds = range(20)
    gauge = Gauge(
        name="workers_private_bytes",
        at_ns=tuple(one * 1_000_000_000 for one in seconds),
        values=tuple(50e6 + 1e6 * one for one in seconds),
        how="planted",
    )
    trace = trace_of(Plan(workers=2, prefetch=2, start_method="fork"), [0.1] * 60, [0.1] * 60)
    case = case_of(msgspec.structs.replace(trace, gauges=(gauge,)))
    gauges = {"trainer_rss_bytes": changed.get("trainer_bytes", 1e12)}
    stats = msgspec.structs.replace(case.stats, gauges=gauges)
    workload = msgspec.structs.replace(case.workload, batches_per_epoch=changed.get("batches"))
    case = msgspec.structs.replace(case, stats=stats, workload=workload)
    plan = msgspec.structs.replace(case.plan, persistent=changed.get("persistent", False))
    trace = msgspec.structs.replace(case.trace, plan=plan)
    return memory_use([msgspec.structs.replace(case, trace=trace)], plan).growth_bytes


def test_growth_is_followed_for_an_hour_or_as_long_as_the_workers_live() -> None:
    period_s = 0.1

    assert grown() == pytest.approx(3600e6, rel=0.01)
    assert grown(batches=1_000) == pytest.approx(1_000 * period_s * 1e6, rel=0.05)
    assert grown(batches=1_000, persistent=True) == pytest.approx(3600e6, rel=0.01)


def test_forked_workers_copy_no_more_than_the_trainer_has() -> None:
    assert grown(trainer_bytes=30e6) == pytest.approx(60e6)
