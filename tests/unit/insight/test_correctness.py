"""What closer looks prove, and what they do not."""

from typing import Any

import msgspec
import numpy as np
from insight_traces import case_of, trace_of

from wellfed._insight.diagnose import find
from wellfed._insight.rules.correctness import duplicate_samples, equal_seeds, frozen_epoch
from wellfed._insight.rules.limits import fd_limit, memory_risk_prefetch, shm_too_small
from wellfed.records import Case, Epoch, Fact, Gauge, Look, Plan

TWO = Plan(workers=2, prefetch=2, start_method="fork")


def case(*looks: Look, plan: Plan = TWO, style: str = "map", **changes: Any) -> Case:
    made = case_of(trace_of(plan, np.full(40, 0.01), np.full(40, 0.02), epochs=2, samples=8))
    trace = msgspec.structs.replace(made.trace, looks=looks, **changes)
    workload = msgspec.structs.replace(made.workload, style=style)
    return msgspec.structs.replace(made, trace=trace, workload=workload)


def look(worker: int, before: int, place: int, *, epoch: int = 0, pid: int = 0) -> Look:
    return Look(
        epoch=epoch,
        worker=worker,
        pid=pid or worker + 1,
        samples_before=before,
        generators={"rng": place},
        drawn=("rng",),
    )


def prints(worker: int, *some: int) -> Look:
    return Look(epoch=0, worker=worker, pid=worker + 1, prints=some)


def test_generators_that_stay_in_step_are_equal() -> None:
    found = equal_seeds(case(look(0, 0, 5), look(1, 0, 5), look(0, 8, 6), look(1, 8, 6)))

    assert found is not None
    assert found.stakes == "data"


def test_a_generator_seeded_anew_for_every_sample_is_no_equal_seed() -> None:
    assert equal_seeds(case(look(0, 0, 5), look(1, 0, 5), look(0, 8, 6), look(1, 8, 7))) is None


def test_a_generator_that_nobody_draws_from_is_no_equal_seed() -> None:
    still = [msgspec.structs.replace(look(worker, 0, 5), drawn=()) for worker in (0, 1)]

    assert equal_seeds(case(*still)) is None


def test_draws_that_repeat_in_a_new_process_are_a_frozen_epoch() -> None:
    first, later = look(0, 0, 5, pid=1), look(0, 0, 5, epoch=1, pid=2)

    assert frozen_epoch(case(first, later)) is not None
    assert frozen_epoch(case(first, msgspec.structs.replace(later, generators={"rng": 6}))) is None


def test_samples_that_repeat_within_a_worker_prove_nothing() -> None:
    assert (
        duplicate_samples(case(prints(0, *[7] * 16), prints(1, *[7] * 16), style="iterable"))
        is None
    )


def test_streams_that_agree_are_duplicates_only_where_workers_share_them_out() -> None:
    looks = prints(0, *range(1, 17)), prints(1, *range(1, 17))

    assert duplicate_samples(case(*looks, style="iterable")) is not None
    assert duplicate_samples(case(*looks, style="map")) is None


def test_a_number_that_workers_see_change_is_no_frozen_epoch() -> None:
    kept = msgspec.structs.replace(TWO, persistent=True)
    epochs = tuple(
        Epoch(index=n, iter_ns=n, ready_ns=n, numbers={"epoch": n, "size": 9}) for n in (0, 1)
    )
    seen = [Look(epoch=n, worker=0, pid=1, numbers={"epoch": n, "size": 9}) for n in (0, 1)]
    stale = [msgspec.structs.replace(one, numbers={"epoch": 0, "size": 9}) for one in seen]

    assert frozen_epoch(case(*seen, plan=kept, epochs=epochs)) is None
    assert frozen_epoch(case(*stale, plan=kept, epochs=epochs)) is not None
    assert frozen_epoch(case(*stale, plan=TWO, epochs=epochs)) is None


def test_an_order_may_repeat_where_nobody_shuffles() -> None:
    epochs = tuple(Epoch(index=n, iter_ns=n, ready_ns=n, order=7, batches=9) for n in (0, 1))
    one = case(epochs=epochs)
    shuffles = msgspec.structs.replace(one.workload, sampler_shuffles=True)

    assert frozen_epoch(one) is None
    assert frozen_epoch(msgspec.structs.replace(one, workload=shuffles)) is not None


def test_wrong_data_comes_before_what_costs_time() -> None:
    looks = (look(0, 0, 5), look(1, 0, 5))

    names = [finding.name for finding in find(case(*looks))]

    assert names[0] == "equal_seeds"
    assert "consumer_bound" in names


def test_a_limit_that_is_not_known_is_not_near() -> None:
    one = case()
    large = msgspec.structs.replace(one.stats, payload_bytes=1e12, tensors_per_batch=1e6)
    one = msgspec.structs.replace(one, stats=large)

    assert [rule(one) for rule in (memory_risk_prefetch, shm_too_small, fd_limit)] == [None] * 3


def test_tensors_shared_by_name_need_no_open_files() -> None:
    files = Gauge(name="open_fds", how="test", at_ns=(0, 1, 2), values=(20.0, 20.0, 20.0))
    one = case(gauges=(files,))
    machine = msgspec.structs.replace(one.machine, fd_limit=Fact(value=256, how="test"))
    stats = msgspec.structs.replace(one.stats, tensors_per_batch=50.0)
    one = msgspec.structs.replace(one, machine=machine, stats=stats)
    opened = msgspec.structs.replace(files, values=(20.0, 200.0, 220.0))
    trace = msgspec.structs.replace(one.trace, gauges=(opened,))

    assert fd_limit(one) is None
    assert fd_limit(msgspec.structs.replace(one, trace=trace)) is not None
