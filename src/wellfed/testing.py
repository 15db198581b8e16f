"""Planted bottlenecks, and a clock that moves only when told: for testing what diagnoses.

Each dataset here has exactly one thing wrong with it, in a known amount, so that a diagnosis can be
held against the truth. Nothing is random: a sample depends on its index and the parameters
alone. All of it pickles, so that it works where workers are spawned, too.

    DataLoader(Latency(0.02), num_workers=2)                       latency_bound
    DataLoader(Streamed(Latency(0.02), shards=1), num_workers=2)   too_few_shards
    DataLoader(CpuBurn(0.002), worker_init_fn=PinnedWorkers())     affinity_pinned

The verdict named in a docstring is the right one where the trainer's own step is short against
making a batch; a longer step hides any of these, and then "consumer_bound" is right.
"""

import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from wellfed._contract import BackendContract as BackendContract

__all__ = [
    "BackendContract",
    "BigTensors",
    "CpuBurn",
    "FakeClock",
    "FileReads",
    "HeavyTail",
    "Latency",
    "ManyObjects",
    "ManyTensors",
    "NativeThreads",
    "OneSlow",
    "PinnedWorkers",
    "Planted",
    "Streamed",
    "TinyItems",
    "keep",
    "spin",
]


class FakeClock:
    """A `wellfed.seams.Clock` that stands still until it is advanced."""

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns

    def __call__(self) -> int:
        """The time, in nanoseconds."""
        return self._now_ns

    def advance(self, by_ns: int) -> None:
        """Let `by_ns` nanoseconds pass. Time never runs backwards."""
        if by_ns < 0:
            raise ValueError(f"a clock cannot go back by {-by_ns} ns; advance it by 0 or more")
        self._now_ns += by_ns


def spin(seconds: float) -> None:
    """Use that much CPU time of the calling thread, however long it takes on a busy machine."""
    end_ns = time.thread_time_ns() + round(seconds * 1e9)
    while time.thread_time_ns() < end_ns:
        # Some 10 µs of user time between two looks at the clock, which is a system call.
        sum(range(500))


def keep(samples: list[Any]) -> list[Any]:
    """A `collate_fn` that leaves the samples as they are."""
    return samples


@dataclass(frozen=True)
class Planted(Dataset[Any], ABC):
    """A map-style dataset of `length` samples with one thing wrong with it."""

    length: int = field(default=1024, kw_only=True)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < self.length:
            raise IndexError(f"sample {index} of {self.length}; count from 0")
        return self._make(index)

    @abstractmethod
    def _make(self, index: int) -> Any:
        """The sample at `index`, at its price."""


@dataclass(frozen=True)
class CpuBurn(Planted):
    """Computes: every sample takes the same CPU time of one core.

    Right: `cpu_underprovisioned` while cores are free, `cpu_saturated` when they are not, and
    `cpu_quota` where a control group grants less than the machine has.
    """

    seconds: float

    def _make(self, index: int) -> Tensor:
        spin(self.seconds)
        return torch.tensor(index)


@dataclass(frozen=True)
class Latency(Planted):
    """Waits: every sample is the same time away, and costs no CPU.

    Right: `latency_bound`. Throughput grows with workers far beyond the number of cores.
    """

    seconds: float

    def _make(self, index: int) -> Tensor:
        time.sleep(self.seconds)
        return torch.tensor(index)


@dataclass(frozen=True)
class HeavyTail(Planted):
    """Waits unevenly: a sample's time is lognormal around its median.

    The times are quantiles dealt out in a scattered order: the same in every epoch, and with the
    distribution's own mean, median * exp(sigma**2 / 2), at any length.

    Right: `head_of_line` with several workers and small batches (later batches are ready and held
    back), `latency_bound` with one worker.
    """

    median_s: float
    sigma: float = 1.0

    def _make(self, index: int) -> Tensor:
        time.sleep(self.seconds(index))
        return torch.tensor(index)

    def seconds(self, index: int) -> float:
        """How long that sample takes."""
        # Steps of the golden ratio land evenly in (0, 1), in no order that looks like one.
        quantile = (0.5 + index * 0.6180339887498949) % 1
        return self.median_s * math.exp(self.sigma * NormalDist().inv_cdf(quantile))


@dataclass(frozen=True)
class OneSlow(Planted):
    """Waits longer at one sample in every `every`, so that one batch in several is slow.

    Right: `head_of_line` with several workers, where prefetching does not span the slow batch;
    `burst_jitter` where the loader keeps up on average and a deeper prefetch would hide it.
    """

    usual_s: float
    slow_s: float
    every: int

    def _make(self, index: int) -> Tensor:
        time.sleep(self.slow_s if index % self.every == 0 else self.usual_s)
        return torch.tensor(index)


@dataclass(frozen=True)
class TinyItems(Planted):
    """Has next to no work a sample: the cost is what torch and Python do around it.

    Right: `in_memory_overhead` with workers, and `per_batch_overhead` where a batch is only one
    or two samples; `per_item_overhead` without workers.
    """

    floats: int = 10

    def _make(self, index: int) -> Tensor:
        return torch.full((self.floats,), float(index))


@dataclass(frozen=True)
class ManyTensors(Planted):
    """Returns many small tensors a sample: each crosses to the trainer in its own shared memory.

    Right: `transport_objects`.
    """

    tensors: int
    floats: int = 16

    def _make(self, index: int) -> tuple[Tensor, ...]:
        return tuple(torch.full((self.floats,), float(index)) for _ in range(self.tensors))


@dataclass(frozen=True)
class BigTensors(Planted):
    """Returns one large tensor a sample, cheap to make: copying it is all the work.

    Right: `transport_bytes` with workers; `collate_bound` without.
    """

    sample_bytes: int

    def _make(self, index: int) -> Tensor:
        # One byte, repeated by its strides: the first real copy is the collate's.
        return torch.tensor(index % 256, dtype=torch.uint8).expand(self.sample_bytes)


@dataclass(frozen=True)
class ManyObjects(Planted):
    """Returns Python objects, that are pickled and unpickled one by one. Use with `keep`.

    Right: `serialization_bound`.
    """

    objects: int

    def _make(self, index: int) -> list[str]:
        # Every string is a new one: pickle would send an object that it has seen as a reference.
        return [f"{index}:{number}" for number in range(self.objects)]


@dataclass(frozen=True)
class FileReads(Planted):
    """Reads a real file a sample: sample i reads file i modulo their number.

    With `cold`, its pages are dropped from the page cache first, so that the read goes to the
    device (Linux; pages not yet written back stay, so `os.sync()` after making the files).

    Right: with `cold`, `storage_bound` where the device is at its limit and `latency_bound` where
    it is not. Without: no finding about storage, since the page cache has it all.
    """

    paths: tuple[str, ...]
    cold: bool = False

    def _make(self, index: int) -> Tensor:
        with open(self.paths[index % len(self.paths)], "rb", buffering=0) as file:
            if self.cold:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            return torch.tensor(len(file.read()))


@dataclass(frozen=True)
class NativeThreads(Planted):
    """Multiplies matrices on several native threads in each worker, which torch had set to one.

    A worker's first sample sets its thread count; the trainer's own is never changed. Use it with
    `multiprocessing_context="spawn"`: OpenMP hangs in a forked child whose parent has used it.

    Right: `thread_oversubscription` where workers times threads exceed the usable cores.
    """

    threads: int
    size: int = 256

    def _make(self, index: int) -> Tensor:
        if get_worker_info() is not None and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        square = torch.full((self.size, self.size), float(index))
        return (square @ square)[0, 0]


@dataclass(frozen=True)
class PinnedWorkers:
    """A `worker_init_fn` that ties every worker to one core, as a wrong affinity mask does.

    Right, with more than one worker on a dataset that computes: `affinity_pinned`.
    """

    core: int | None = None
    """Which core; by default the first that the process may use."""

    def __call__(self, _worker_id: int) -> None:
        """Tie the calling worker to the core."""
        core = min(os.sched_getaffinity(0)) if self.core is None else self.core
        os.sched_setaffinity(0, {core})


class Streamed(IterableDataset[Any]):
    """A planted dataset as an iterable one, dealt to the workers in `shards` interleaved parts.

    Right: what is right for `planted`, as long as there are as many shards as workers;
    `too_few_shards` with fewer; `duplicate_samples` with `split=False` and several workers, since
    every worker then yields everything.
    """

    def __init__(self, planted: Planted, *, shards: int = 64, split: bool = True) -> None:
        self.planted = planted
        self.shards = shards
        self.split = split

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info and self.split else (0, 1)
        for shard in range(first, self.shards, step):
            for index in range(shard, len(self.planted), self.shards):
                yield self.planted[index]
