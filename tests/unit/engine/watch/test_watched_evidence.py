"""What a watched loader shows besides its times: order, draws, duplicates, what was pickled."""

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from wellfed._engine.watch.loaders import Watch
from wellfed.records import Trace
from wellfed.testing import CpuBurn, Streamed, TinyItems


class Noisy(Dataset[Any]):
    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.epoch = 0
        self.cache: dict[int, float] = {}

    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> Any:
        self.cache[index] = self.rng.random()
        return torch.tensor([index + self.cache[index]])


@pytest.fixture
def watch() -> Iterator[Watch]:
    made = Watch()
    made.install()
    yield made
    made.undo()


def trace_of(watch: Watch) -> Trace:
    (recorder,) = watch.recorders.values()
    return recorder.trace(0, 0)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_the_order_of_epochs_can_be_compared(watch: Watch, workers: int, shuffle: bool) -> None:
    loader = DataLoader(TinyItems(length=64), batch_size=4, shuffle=shuffle, num_workers=workers)
    for _ in range(3):
        list(loader)

    orders = [epoch.order for epoch in trace_of(watch).epochs]

    assert min(orders) >= 0
    assert len(set(orders)) == (3 if shuffle else 1)


def test_an_iterable_dataset_has_no_order(watch: Watch) -> None:
    list(DataLoader(Streamed(TinyItems(length=8)), batch_size=4))

    assert [epoch.order for epoch in trace_of(watch).epochs] == [-1]


@pytest.mark.parametrize("persistent", [False, True])
def test_each_epoch_of_a_worker_is_looked_at(watch: Watch, persistent: bool) -> None:
    data = Noisy()
    loader = DataLoader(data, batch_size=4, num_workers=2, persistent_workers=persistent)
    for epoch in range(2):
        data.epoch = epoch
        list(loader)

    trace = trace_of(watch)

    assert [epoch.numbers for epoch in trace.epochs] == [{"epoch": 0}, {"epoch": 1}]
    assert [(look.epoch, look.number, look.worker) for look in trace.looks] == [
        (epoch, number, number % 2) for epoch in (0, 1) for number in range(8)
    ]
    first, again = trace.looks[0], trace.looks[8]
    assert first.numbers == {"epoch": 0}
    assert again.numbers == {"epoch": 0 if persistent else 1}
    assert first.drawn == again.drawn == ("rng",)
    assert first.generators["rng"] == trace.looks[1].generators["rng"]
    assert (first.generators["rng"] == again.generators["rng"]) is not persistent
    assert first.generators["torch"] != trace.looks[1].generators["torch"]
    assert again.entries == {"cache": 16 if persistent else 0}
    assert again.samples_before == (16 if persistent else 0)


def test_samples_that_two_workers_repeat_have_the_same_checksums(watch: Watch) -> None:
    list(DataLoader(Streamed(TinyItems(length=64), split=False), batch_size=4, num_workers=2))
    by_worker: dict[int, list[int]] = {0: [], 1: []}
    for look in trace_of(watch).looks:
        by_worker[look.worker] += look.prints

    assert by_worker[0] == by_worker[1]
    assert len(set(by_worker[0])) == 16


def test_what_spawn_pickles_is_counted(watch: Watch) -> None:
    list(DataLoader(CpuBurn(0.0, length=8), num_workers=1, multiprocessing_context="spawn"))

    (epoch,) = trace_of(watch).epochs

    assert len(epoch.start_ns) == len(epoch.pickle_ns) == len(epoch.pickled_bytes) == 1
    assert 0 < epoch.pickle_ns[0] < epoch.start_ns[0]
    assert epoch.pickled_bytes[0] > 500


def test_fork_pickles_nothing(watch: Watch) -> None:
    list(DataLoader(TinyItems(length=8), num_workers=1, multiprocessing_context="fork"))

    assert trace_of(watch).epochs[0].pickled_bytes == ()


def test_full_collections_between_batches_are_counted(watch: Watch) -> None:
    for _ in DataLoader(TinyItems(length=8), batch_size=4):
        gc.collect()

    # The one after the last batch belongs to nobody's step.
    assert trace_of(watch).epochs[0].gc_runs >= 1
    assert trace_of(watch).epochs[0].gc_ns > 0


def test_a_sampler_that_shuffles_by_the_epoch_is_known(watch: Watch) -> None:
    data = TinyItems(length=8)
    list(DataLoader(data, sampler=DistributedSampler(data, num_replicas=2, rank=0)))

    (recorder,) = watch.recorders.values()

    assert recorder.workload.sampler.endswith("DistributedSampler")
    assert recorder.workload.sampler_shuffles


def test_draws_are_the_same_whether_looked_at_or_not() -> None:
    def drawn() -> list[float]:
        torch.manual_seed(0)
        loader = DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=2)
        return [float(batch.sum()) for _ in range(2) for batch in loader]

    unwatched = drawn()
    watch = Watch()
    watch.install()
    try:
        assert unwatched == drawn()
    finally:
        watch.undo()
