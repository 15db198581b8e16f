"""On a device: idle time is told from waiting, and pinned batches are the same with us and without.

Steps are kernels that wait on the device's own clock, so that they last as long on any of them.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

import wellfed
from wellfed._engine.watch.loaders import Watch
from wellfed._engine.watch.stalls import StallClock
from wellfed._insight.stats import summarise
from wellfed.records import Report, Trace
from wellfed.testing import BigTensors, Latency, TinyItems

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def sleep() -> Callable[[float], None]:
    """Queues so many seconds of work on the device, and returns at once."""
    cuda: Any = torch.cuda  # half of it has no types
    cuda.init()
    cycles = 100_000_000
    cuda._sleep(cycles)  # the first launch loads the kernel
    cuda.synchronize()
    began = time.perf_counter()
    cuda._sleep(cycles)
    cuda.synchronize()
    per_second = cycles / (time.perf_counter() - began)
    return lambda seconds: cuda._sleep(int(seconds * per_second))


@pytest.fixture
def watch() -> Iterator[Watch]:
    made = Watch()
    made.install()
    yield made
    made.undo()


def traced(watch: Watch) -> Trace:
    torch.cuda.synchronize()
    (recorder,) = watch.recorders.values()
    return recorder.trace(0, time.perf_counter_ns())


def stall_share(watch: Watch) -> float:
    stats = summarise(traced(watch))
    assert stats is not None
    assert stats.device_stall_share is not None
    return stats.device_stall_share


# -- the stall clock, against known waits


def test_an_idle_device_stalls_for_the_whole_wait(sleep: Callable[[float], None]) -> None:
    clock = StallClock()
    sleep(0.001)
    torch.cuda.synchronize()
    clock.asked()
    time.sleep(0.05)
    clock.got(0)
    torch.cuda.synchronize()
    clock.resolve()

    assert clock.stalls_ns[0] == pytest.approx(50e6, rel=0.2)


def test_a_busy_device_does_not_stall(sleep: Callable[[float], None]) -> None:
    clock = StallClock()
    sleep(0.2)
    clock.asked()
    time.sleep(0.05)
    clock.got(0)
    clock.resolve()
    assert clock.stalls_ns == {}, "asking must not wait for the device"

    torch.cuda.synchronize()
    clock.resolve()
    assert clock.stalls_ns[0] < 2e6


def test_the_clock_never_waits_for_the_device(sleep: Callable[[float], None]) -> None:
    clock = StallClock()
    sleep(0.5)
    began = time.perf_counter()
    for key in range(20):
        clock.asked()
        clock.got(key)

    assert time.perf_counter() - began < 0.1
    torch.cuda.synchronize()


def test_a_side_stream_for_copies_does_not_stall_for_the_others(
    sleep: Callable[[float], None],
) -> None:
    """As in a prefetcher, which asks for batches inside `torch.cuda.stream(side)`."""
    clock = StallClock()
    side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    sleep(0.2)
    with torch.cuda.stream(side):
        clock.asked()
        time.sleep(0.05)
        clock.got(0)
    torch.cuda.synchronize()
    clock.resolve()

    assert clock.stalls_ns[0] < 2e6


def test_a_graph_that_is_captured_holds_no_event_of_ours() -> None:
    clock = StallClock()
    graph: Any = torch.cuda.CUDAGraph()
    total = torch.zeros(1, device="cuda")
    with torch.cuda.graph(graph):
        clock.asked()
        total += 1
        clock.got(0)
    graph.replay()
    torch.cuda.synchronize()
    clock.resolve()

    assert total.item() == 1
    assert clock.stalls_ns == {}


def test_a_device_that_is_not_used_gets_no_context(sleep: Callable[[float], None]) -> None:
    clock = StallClock()
    sleep(0.001)
    is_used: Any = torch._C._cuda_hasPrimaryContext  # type: ignore[attr-defined]
    devices = range(torch.cuda.device_count())
    before = [is_used(one) for one in devices]
    clock.asked()
    clock.got(0)

    assert [is_used(one) for one in devices] == before
    assert sum(before) >= 1


def test_a_process_that_uses_no_device_is_not_made_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    clock = StallClock()
    clock.asked()
    clock.got(0)

    assert clock.stalls_ns == {}


# -- whole loops


def test_a_slow_device_and_a_fast_loader_do_not_stall(
    watch: Watch, sleep: Callable[[float], None]
) -> None:
    """The trainer only queues its steps, so it asks early and is served early."""
    # Three steps may be queued ahead of the device, as in a loop that reads its loss now and then.
    pending: list[torch.Event] = []
    for _ in DataLoader(TinyItems(length=120), num_workers=1):
        sleep(0.01)
        done = torch.Event("cuda")
        done.record()
        pending.append(done)
        if len(pending) > 3:
            pending.pop(0).synchronize()

    assert stall_share(watch) < 0.02


def test_a_starving_device_stalls(watch: Watch, sleep: Callable[[float], None]) -> None:
    for _ in DataLoader(Latency(0.02, length=80), num_workers=1):
        sleep(0.002)

    assert stall_share(watch) > 0.7


def test_a_long_wait_behind_a_busy_device_costs_nothing(
    watch: Watch, sleep: Callable[[float], None]
) -> None:
    """The loader takes 20 ms a batch and the device 40: the trainer waits and the device works."""
    for number, _ in enumerate(DataLoader(Latency(0.02, length=60), num_workers=0)):
        sleep(0.04)
        if number % 10 == 9:
            torch.cuda.synchronize()

    waited = [span.wait_ns for span in traced(watch).spans]
    assert min(waited) > 15e6
    # One batch in ten follows a synchronisation, and does find the device idle.
    assert stall_share(watch) < 0.15


def report_of(loader: DataLoader[Any], step: Callable[[Any], object]) -> Report:
    return wellfed.diagnose(loader, step, seconds=15)


def test_the_verdict_on_a_slow_device_is_the_model(sleep: Callable[[float], None]) -> None:
    def step(batch: Any) -> None:
        sleep(0.03)
        torch.cuda.synchronize()

    report = report_of(DataLoader(TinyItems(length=2000), batch_size=8, num_workers=2), step)

    assert report.verdict.name == "consumer_bound"


def test_the_verdict_on_a_starving_device_is_not_the_model(sleep: Callable[[float], None]) -> None:
    loader = DataLoader(Latency(0.01, length=4000), batch_size=4, num_workers=1)

    report = report_of(loader, lambda _: sleep(0.002))

    assert report.verdict.name == "latency_bound"


# -- pinned memory


@pytest.mark.parametrize("workers", [0, 2])
def test_pinned_batches_are_the_same(workers: int) -> None:
    def run() -> list[Any]:
        torch.manual_seed(0)
        loader = DataLoader(
            BigTensors(10_000, length=40),
            batch_size=4,
            shuffle=True,
            num_workers=workers,
            pin_memory=True,
        )
        seen: list[Any] = []
        for batch in loader:
            assert batch.is_pinned()
            seen.append(batch.to("cuda", non_blocking=True).sum().item())
        return [*seen, torch.get_rng_state().tolist(), torch.cuda.get_rng_state().tolist()]

    plain = run()
    watch = Watch()
    watch.install()
    try:
        watched = run()
    finally:
        watch.undo()

    assert watched == plain
    assert watch.failures == []


def test_pinning_is_timed(watch: Watch) -> None:
    loader = DataLoader(
        BigTensors(1_000_000, length=40), batch_size=4, num_workers=1, pin_memory=True
    )
    for _ in loader:
        pass
    trace = traced(watch)

    assert trace.plan.pin_memory
    assert all(span.pin_ns > 0 for span in trace.spans)
    assert all(span.message_bytes > 0 for span in trace.spans)
