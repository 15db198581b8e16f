"""Runs with one bottleneck planted in each: what is recorded, and what the verdict must be.

A scenario is a loader, a step, and around them what the machine is made to do. They are real
runs: `record.py` runs each in a process of its own and saves the report; the tests judge the
saved reports again.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from mishaps import (
    Augmented,
    Caching,
    PackedRows,
    Pages,
    Rows,
    Staged,
    hoard,
    open_files,
    set_epoch,
    shared_memory_of,
    swap_file,
)
from plants import (
    Annotations,
    Around,
    MappedRows,
    OneConnection,
    Sentences,
    burners,
    control_group,
    disk,
    meet,
    pad_in_python,
    rank,
)
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, TensorDataset

from wellfed.testing import (
    BigTensors,
    CpuBurn,
    FileReads,
    HeavyTail,
    Latency,
    ManyTensors,
    NativeThreads,
    OneSlow,
    PinnedWorkers,
    Streamed,
    TinyItems,
    keep,
    spin,
)

Loader = DataLoader[Any]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One planted run."""

    verdict: str
    """The one right verdict."""
    loader: Callable[[Any], Loader]
    """Makes the loader; gets what `around` yields."""
    step: Callable[[Any], object]
    around: Around = contextlib.nullcontext
    """What is done to the machine meanwhile."""
    epochs: int = 1_000
    steps: int = 150
    """Batches watched."""
    also: str = ""
    """A second cause that is planted too, and has to be named after the verdict."""
    ranks: int = 1
    """Ranks that run it together, each with a loader of its own."""
    before_epoch: Callable[[Any, int], None] = lambda _loader, _epoch: None
    """What the script does with the loader before each epoch."""


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """Half a gigabyte of memory, and the rest in swap."""
    with swap_file(3 * 2**29), control_group("memory", "memory.limit_in_bytes", "500M")():
        yield


def wait(seconds: float) -> Callable[[Any], None]:
    """A step on a device: the trainer waits and its CPU is free."""
    return lambda _batch: time.sleep(seconds)


def compute(seconds: float) -> Callable[[Any], None]:
    """A step on the CPU."""
    return lambda _batch: spin(seconds)


def on_device(batch: Any) -> None:
    """A step on a device: all tensors are copied to it, and some ten milliseconds follow."""
    for tensor in (
        [batch] if isinstance(batch, torch.Tensor) else [one for row in batch for one in row]
    ):
        tensor.to("cuda")
    square = torch.ones(4096, 4096, device="cuda")
    (square @ square).sum().item()


def touch(batch: Any) -> None:
    """A step that only looks at the data."""
    for tensor in batch if isinstance(batch, (list, tuple)) else [batch]:
        tensor.sum()


def some_of_many(samples: int, many: int) -> Loader:
    """Epochs of some samples, drawn from very many."""
    data = CpuBurn(0.0005, length=many)
    return DataLoader(data, batch_size=8, sampler=RandomSampler(data, num_samples=samples))


def half(data: Any) -> Any:
    """The sampler of one rank of two."""
    return DistributedSampler(data, num_replicas=2, rank=0)


def rows() -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(
        torch.randn(10_000, 10, generator=generator), torch.zeros(10_000, dtype=torch.long)
    )


SCENARIOS: dict[str, Scenario] = {
    "big_model": Scenario(
        verdict="consumer_bound",
        loader=lambda _: DataLoader(CpuBurn(0.0002), batch_size=8, num_workers=1),
        step=wait(0.02),
    ),
    "big_model_no_workers": Scenario(
        verdict="consumer_bound",
        loader=lambda _: DataLoader(rows(), batch_size=32),
        step=compute(0.02),
    ),
    "step_and_workers_compute": Scenario(
        verdict="interference",
        loader=lambda _: DataLoader(CpuBurn(0.0045), batch_size=8, num_workers=2),
        step=compute(0.02),
    ),
    "one_worker_computes": Scenario(
        verdict="cpu_underprovisioned",
        loader=lambda _: DataLoader(CpuBurn(0.004), batch_size=8, num_workers=1),
        step=wait(0.004),
    ),
    "trainer_computes": Scenario(
        verdict="cpu_underprovisioned",
        loader=lambda _: DataLoader(CpuBurn(0.004), batch_size=8),
        step=wait(0.02),
    ),
    "all_cores_compute": Scenario(
        verdict="cpu_saturated",
        loader=lambda _: DataLoader(CpuBurn(0.004), batch_size=8, num_workers=2),
        step=wait(0.001),
    ),
    "quota": Scenario(
        verdict="cpu_quota",
        loader=lambda _: DataLoader(CpuBurn(0.004), batch_size=8, num_workers=2),
        step=wait(0.001),
        around=control_group("cpu", "cpu.cfs_quota_us", "80000"),
    ),
    "native_threads": Scenario(
        verdict="thread_oversubscription",
        loader=lambda _: DataLoader(
            NativeThreads(2, size=512),
            batch_size=8,
            num_workers=2,
            multiprocessing_context="spawn",
        ),
        step=wait(0.001),
    ),
    "pinned_to_one_core": Scenario(
        verdict="affinity_pinned",
        loader=lambda _: DataLoader(
            CpuBurn(0.002), batch_size=8, num_workers=2, worker_init_fn=PinnedWorkers()
        ),
        step=wait(0.001),
    ),
    "crowded_machine": Scenario(
        verdict="noisy_neighbour",
        loader=lambda _: DataLoader(CpuBurn(0.004), batch_size=8, num_workers=1),
        step=wait(0.004),
        around=burners(8),
        steps=60,
    ),
    "ranks_with_workers": Scenario(
        verdict="rank_oversubscription",
        loader=lambda _: DataLoader(CpuBurn(0.004), batch_size=8, num_workers=2),
        step=meet,
        ranks=2,
    ),
    "remote": Scenario(
        verdict="latency_bound",
        loader=lambda _: DataLoader(Latency(0.005), batch_size=8, num_workers=2),
        step=wait(0.002),
    ),
    "remote_no_workers": Scenario(
        verdict="latency_bound",
        loader=lambda _: DataLoader(Latency(0.005), batch_size=4),
        step=wait(0.005),
    ),
    "slow_disk": Scenario(
        verdict="storage_bound",
        loader=lambda paths: DataLoader(FileReads(paths, cold=True), batch_size=4, num_workers=2),
        step=wait(0.001),
        around=disk(64, 256 * 1024, 20_000_000),
    ),
    "mapped_rows": Scenario(
        verdict="read_amplification",
        loader=lambda paths: DataLoader(
            MappedRows(paths[0], pages=65_536, length=4_000), batch_size=4, num_workers=2
        ),
        step=wait(0.001),
        around=disk(1, 2**28, 300_000_000),
        steps=80,
    ),
    "first_epoch": Scenario(
        verdict="cold_cache_transient",
        loader=lambda paths: DataLoader(
            FileReads(paths, length=len(paths)),
            batch_size=4,
            num_workers=2,
            persistent_workers=True,
        ),
        step=wait(0.01),
        around=disk(256, 256 * 1024, 20_000_000),
    ),
    "memory_too_small": Scenario(
        verdict="cache_too_small",
        loader=lambda paths: DataLoader(
            FileReads(paths, length=len(paths)),
            batch_size=4,
            num_workers=2,
            persistent_workers=True,
        ),
        step=wait(0.005),
        around=disk(300, 2**20, 60_000_000, memory_limit_bytes=160 * 2**20),
        steps=200,
    ),
    "rows_no_workers": Scenario(
        verdict="per_item_overhead",
        loader=lambda _: DataLoader(rows(), batch_size=32, shuffle=True),
        step=touch,
        steps=900,
    ),
    "rows_four_workers": Scenario(
        verdict="in_memory_overhead",
        loader=lambda _: DataLoader(rows(), batch_size=32, shuffle=True, num_workers=4),
        step=touch,
        steps=900,
    ),
    "tiny_batches": Scenario(
        verdict="per_batch_overhead",
        loader=lambda _: DataLoader(TinyItems(length=10_000), batch_size=1, num_workers=2),
        step=touch,
        steps=900,
    ),
    "big_batches": Scenario(
        verdict="transport_bytes",
        loader=lambda _: DataLoader(BigTensors(4_000_000), batch_size=8, num_workers=2),
        step=wait(0.001),
    ),
    "many_tensors": Scenario(
        verdict="transport_objects",
        loader=lambda _: DataLoader(ManyTensors(100), batch_size=4, num_workers=2),
        step=touch,
    ),
    "annotations": Scenario(
        verdict="serialization_bound",
        loader=lambda _: DataLoader(
            Annotations(100), batch_size=32, num_workers=2, collate_fn=keep
        ),
        step=wait(0.001),
    ),
    "padding": Scenario(
        verdict="collate_bound",
        loader=lambda _: DataLoader(
            Sentences(length=4_000), batch_size=32, num_workers=1, collate_fn=pad_in_python
        ),
        step=wait(0.001),
    ),
    "padding_short_epochs": Scenario(
        verdict="collate_bound",
        also="startup_respawn",
        loader=lambda _: DataLoader(
            Sentences(length=1_600), batch_size=32, num_workers=1, collate_fn=pad_in_python
        ),
        step=wait(0.001),
        steps=200,
    ),
    "uneven_batches": Scenario(
        verdict="head_of_line",
        loader=lambda _: DataLoader(
            HeavyTail(0.010, sigma=1.2, length=2_000), batch_size=1, num_workers=4
        ),
        step=wait(0.006),
        steps=500,
    ),
    "bursts": Scenario(
        verdict="burst_jitter",
        loader=lambda _: DataLoader(
            OneSlow(0.001, 0.12, every=40, length=4_000), batch_size=4, num_workers=1
        ),
        step=wait(0.022),
        steps=240,
    ),
    "late_rank": Scenario(
        verdict="rank_straggler",
        loader=lambda _: DataLoader(
            Latency(0.010 if rank() else 0.0005), batch_size=4, num_workers=1
        ),
        step=meet,
        ranks=2,
    ),
    "one_connection": Scenario(
        verdict="lock_serialised",
        loader=lambda _: DataLoader(OneConnection(0.004), batch_size=8, num_workers=3),
        step=wait(0.002),
    ),
    "short_epochs": Scenario(
        verdict="startup_respawn",
        loader=lambda _: DataLoader(CpuBurn(0.0005, length=64), batch_size=8, num_workers=2),
        step=wait(0.01),
        steps=120,
    ),
    "busy_neighbours": Scenario(
        verdict="too_noisy",
        loader=lambda _: DataLoader(CpuBurn(0.004), batch_size=8, num_workers=1),
        step=wait(0.004),
        around=burners(2),
    ),
    "five_batches": Scenario(
        verdict="not_enough_evidence",
        loader=lambda _: DataLoader(CpuBurn(0.004), batch_size=8, num_workers=1),
        step=wait(0.004),
        steps=5,
    ),
    # epochs and structure
    "fat_dataset_spawned": Scenario(
        verdict="startup_pickle",
        loader=lambda _: DataLoader(
            Rows(400_000, length=64, seconds=0.0005),
            batch_size=8,
            num_workers=2,
            multiprocessing_context="spawn",
        ),
        step=wait(0.01),
        steps=28,
    ),
    "two_batches_for_eight": Scenario(
        verdict="idle_workers",
        loader=lambda _: DataLoader(
            Latency(0.02, length=32), batch_size=16, num_workers=8, persistent_workers=True
        ),
        step=wait(0.005),
        steps=60,
    ),
    "one_shard": Scenario(
        verdict="too_few_shards",
        loader=lambda _: DataLoader(
            Streamed(Latency(0.01, length=100_000), shards=1), batch_size=4, num_workers=4
        ),
        step=wait(0.002),
    ),
    "many_shards": Scenario(
        verdict="latency_bound",
        loader=lambda _: DataLoader(
            Streamed(Latency(0.005, length=100_000), shards=64), batch_size=8, num_workers=2
        ),
        step=wait(0.002),
    ),
    "some_of_many": Scenario(
        verdict="sampler_bound",
        loader=lambda _: some_of_many(64, 2_000_000),
        step=wait(0.005),
    ),
    "cache_by_epoch": Scenario(
        verdict="cache_lost",
        loader=lambda _: DataLoader(
            Caching(0.004, length=256), batch_size=8, shuffle=True, num_workers=2
        ),
        step=wait(0.001),
    ),
    # wrong data
    "whole_stream_twice": Scenario(
        verdict="duplicate_samples",
        loader=lambda _: DataLoader(
            Streamed(CpuBurn(0.001, length=100_000), split=False), batch_size=8, num_workers=2
        ),
        step=wait(0.004),
    ),
    "one_generator": Scenario(
        verdict="equal_seeds",
        loader=lambda _: DataLoader(Augmented(own=True), batch_size=8, num_workers=2),
        step=wait(0.02),
    ),
    "seeded_by_torch": Scenario(
        verdict="consumer_bound",
        loader=lambda _: DataLoader(
            Augmented(own=False), batch_size=8, num_workers=2, persistent_workers=True
        ),
        step=wait(0.02),
    ),
    "order_repeats": Scenario(
        verdict="frozen_epoch",
        loader=lambda _: DataLoader(rows(), batch_size=128, sampler=half(rows())),
        step=wait(0.03),
    ),
    "epoch_not_seen": Scenario(
        verdict="frozen_epoch",
        loader=lambda _: DataLoader(Staged(), batch_size=8, num_workers=2, persistent_workers=True),
        step=wait(0.02),
        before_epoch=set_epoch,
    ),
    "epoch_told": Scenario(
        verdict="consumer_bound",
        loader=lambda _: DataLoader(rows(), batch_size=128, sampler=half(rows())),
        step=wait(0.03),
        before_epoch=set_epoch,
    ),
    # limits
    "objects_copied": Scenario(
        verdict="memory_growth_cow",
        loader=lambda _: DataLoader(
            Rows(2_000_000, length=2_000_000, seconds=0.0002),
            batch_size=64,
            shuffle=True,
            num_workers=2,
        ),
        step=wait(0.02),
        around=control_group("memory", "memory.limit_in_bytes", "1500M"),
        steps=1_000,
    ),
    "array_shared": Scenario(
        verdict="consumer_bound",
        loader=lambda _: DataLoader(
            PackedRows(2_000_000, seconds=0.0002), batch_size=64, shuffle=True, num_workers=2
        ),
        step=wait(0.02),
        around=control_group("memory", "memory.limit_in_bytes", "1500M"),
        steps=1_000,
    ),
    "deep_prefetch": Scenario(
        verdict="memory_risk_prefetch",
        loader=lambda _: DataLoader(
            BigTensors(2_000_000), batch_size=8, num_workers=2, prefetch_factor=24
        ),
        step=wait(0.001),
        around=control_group("memory", "memory.limit_in_bytes", "1000M"),
    ),
    "small_shm": Scenario(
        verdict="shm_too_small",
        loader=lambda _: DataLoader(
            BigTensors(1_000_000), batch_size=8, num_workers=2, prefetch_factor=4
        ),
        step=wait(0.001),
        around=lambda: shared_memory_of("84m"),
    ),
    "batches_kept": Scenario(
        verdict="fd_limit",
        loader=lambda _: DataLoader(ManyTensors(20, length=16_384), batch_size=4, num_workers=2),
        step=hoard(),
        around=lambda: open_files(8192),
    ),
    "in_swap": Scenario(
        verdict="swap",
        loader=lambda _: DataLoader(Pages(2**30), batch_size=8, shuffle=True, num_workers=2),
        step=wait(0.001),
        around=little_memory,
    ),
}

ON_DEVICES: dict[str, Scenario] = {
    "plain_copies": Scenario(
        verdict="blocking_copy",
        loader=lambda _: DataLoader(BigTensors(16_000_000), batch_size=4, num_workers=2),
        step=on_device,
    ),
    "pinned_parts": Scenario(
        verdict="pin_bound",
        loader=lambda _: DataLoader(
            ManyTensors(100), batch_size=8, num_workers=4, collate_fn=keep, pin_memory=True
        ),
        step=on_device,
    ),
}
"""Runs that need an accelerator. They have not been recorded yet: `record.py` runs them by name."""
