"""Runs with one bottleneck planted in each: what is recorded, and what the verdict must be.

A scenario is a loader, a step, and around them what the machine is made to do. They are real
runs: `record.py` runs each in a process of its own and saves the report; the tests judge the
saved reports again.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
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
from torch.utils.data import DataLoader, TensorDataset

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
