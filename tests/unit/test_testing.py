"""What is planted is really there, in the amount that was asked for."""

import math
import os
import pickle
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader

from wellfed import testing
from wellfed.seams import Clock
from wellfed.testing import (
    BigTensors,
    CpuBurn,
    FakeClock,
    FileReads,
    HeavyTail,
    Latency,
    ManyObjects,
    ManyTensors,
    NativeThreads,
    OneSlow,
    PinnedWorkers,
    Planted,
    Streamed,
    TinyItems,
    keep,
    spin,
)

EVERY_PLANTED = (
    CpuBurn(1e-5, length=8),
    Latency(0, length=8),
    HeavyTail(1e-6, length=8),
    OneSlow(0, 1e-6, every=4, length=8),
    TinyItems(length=8),
    ManyTensors(3, length=8),
    BigTensors(100, length=8),
    ManyObjects(3, length=8),
    FileReads((__file__,), length=8),
    NativeThreads(2, size=4, length=8),
)
planted = pytest.mark.parametrize("dataset", EVERY_PLANTED, ids=lambda d: type(d).__name__)


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What would have been slept; nothing really sleeps."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


@pytest.fixture
def torch_threads() -> Iterator[int]:
    """How many threads torch uses; put back afterwards."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def be_worker(monkeypatch: pytest.MonkeyPatch, number: int, workers: int) -> None:
    info = SimpleNamespace(id=number, num_workers=workers)
    monkeypatch.setattr(testing, "get_worker_info", lambda: info)


# -- the clock


def test_the_clock_moves_only_when_told() -> None:
    clock: Clock = (fake := FakeClock(5))

    seen = [clock(), clock()]
    fake.advance(10)
    seen.append(clock())

    assert seen == [5, 5, 15]


def test_the_clock_refuses_to_go_back() -> None:
    with pytest.raises(ValueError, match="cannot go back by 3 ns"):
        FakeClock().advance(-3)


# -- every planted dataset


@planted
def test_it_survives_the_trip_to_a_spawned_worker(dataset: Planted) -> None:
    assert dataset == pickle.loads(pickle.dumps(dataset))


@planted
def test_it_ends_where_its_length_says(dataset: Planted) -> None:
    assert len(dataset) == 8
    for outside in (-1, 8):
        with pytest.raises(IndexError, match=f"sample {outside} of 8"):
            dataset[outside]


@planted
def test_it_can_be_batched(dataset: Planted) -> None:
    assert len(list(DataLoader(dataset, batch_size=4))) == 2


# -- computing and waiting


def test_spinning_uses_the_cpu_time_it_was_told_to() -> None:
    before_ns = time.thread_time_ns()
    spin(0.01)
    used_ns = time.thread_time_ns() - before_ns

    assert 10e6 <= used_ns < 12e6


def test_burning_costs_the_same_cpu_time_at_every_sample() -> None:
    before_ns = time.thread_time_ns()
    for index in range(5):
        CpuBurn(0.002)[index]
    used_ns = time.thread_time_ns() - before_ns

    assert 10e6 <= used_ns < 13e6


def test_latency_is_slept(naps: list[float]) -> None:
    Latency(0.02)[0]

    assert naps == [0.02]


def test_one_sample_in_so_many_is_slow(naps: list[float]) -> None:
    dataset = OneSlow(0.001, 0.5, every=4, length=8)
    for index in range(8):
        dataset[index]

    assert naps == [0.5, 0.001, 0.001, 0.001] * 2


@pytest.mark.parametrize("length", [100, 1024])
def test_the_heavy_tail_has_the_lognormals_median_and_mean(length: int) -> None:
    dataset = HeavyTail(0.002, 0.8, length=length)

    seconds = [dataset.seconds(index) for index in range(length)]

    assert statistics.median(seconds) == pytest.approx(0.002, rel=0.03)
    assert statistics.mean(seconds) == pytest.approx(0.002 * math.exp(0.8**2 / 2), rel=0.03)


def test_the_heavy_tail_sleeps_as_long_as_it_says(naps: list[float]) -> None:
    dataset = HeavyTail(0.002)
    dataset[3]

    assert [dataset.seconds(3)] == naps


# -- what crosses to the trainer


def test_samples_have_the_weight_they_were_given() -> None:
    assert TinyItems(10)[0].shape == (10,)
    assert [tensor.shape for tensor in ManyTensors(100, floats=16)[0]] == [(16,)] * 100
    assert BigTensors(1_000_000)[0].nbytes == 1_000_000
    assert len(ManyObjects(50)[0]) == 50


def test_a_batch_of_big_tensors_is_really_that_big() -> None:
    (batch,) = DataLoader(BigTensors(1000, length=4), batch_size=4)

    assert batch.untyped_storage().nbytes() == 4000
    assert batch[:, -1].tolist() == [0, 1, 2, 3]


def test_many_objects_stay_objects() -> None:
    (batch,) = DataLoader(ManyObjects(2, length=2), batch_size=2, collate_fn=keep)

    assert batch == [["0:0", "0:1"], ["1:0", "1:1"]]


# -- files


@pytest.mark.parametrize("cold", [False, True])
def test_files_are_read_in_turn(tmp_path: Path, cold: bool) -> None:
    paths = tuple(str(tmp_path / name) for name in "ab")
    for path, size in zip(paths, (10, 20), strict=True):
        Path(path).write_bytes(bytes(size))

    dataset = FileReads(paths, cold=cold)
    read = [dataset[index] for index in range(3)]

    assert read == [10, 20, 10]


# -- threads and cores


def test_native_threads_are_set_inside_a_worker(
    monkeypatch: pytest.MonkeyPatch, torch_threads: int
) -> None:
    be_worker(monkeypatch, 0, workers=1)

    NativeThreads(torch_threads + 1)[0]

    assert torch_threads + 1 == torch.get_num_threads()


def test_the_trainers_own_threads_are_left_alone(torch_threads: int) -> None:
    NativeThreads(torch_threads + 1)[0]

    assert torch_threads == torch.get_num_threads()


def test_a_pinned_worker_may_use_one_core() -> None:
    def pinned() -> set[int]:
        PinnedWorkers()(0)
        return os.sched_getaffinity(0)

    allowed = os.sched_getaffinity(0)
    with ThreadPoolExecutor(1) as pool:  # Linux keeps an affinity mask per thread
        seen = pool.submit(pinned).result()

    assert {min(allowed)} == seen
    assert allowed == os.sched_getaffinity(0)


# -- streams


def indices(stream: Streamed) -> list[int]:
    return [int(sample) for sample in stream]


@pytest.mark.parametrize(
    ("shards", "split", "first", "second"),
    [
        (4, True, [0, 4, 2], [1, 5, 3]),
        (1, True, [0, 1, 2, 3, 4, 5], []),
        (1, False, [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]),
    ],
    ids=["enough shards", "too few shards", "duplicates"],
)
def test_a_stream_is_dealt_to_two_workers(
    monkeypatch: pytest.MonkeyPatch,
    shards: int,
    split: bool,
    first: list[int],
    second: list[int],
) -> None:
    stream = Streamed(Latency(0, length=6), shards=shards, split=split)

    dealt = []
    for number in (0, 1):
        be_worker(monkeypatch, number, workers=2)
        dealt.append(indices(stream))

    assert [first, second] == dealt


def test_a_stream_without_workers_yields_every_sample_once() -> None:
    assert list(range(100)) == sorted(indices(Streamed(Latency(0, length=100))))


def test_a_stream_survives_the_trip_to_a_spawned_worker() -> None:
    stream = pickle.loads(pickle.dumps(Streamed(TinyItems(length=3), shards=2)))

    assert len(list(stream)) == 3
