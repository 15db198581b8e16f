"""What `benchmarks/engine.py` measures: name, samples, step, our plan, and what is aimed at."""

import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any

import torch
from torch.utils.data import default_collate

from workloads import datasets
from workloads.workload import GRID, PREFETCH, Setting, Target, Workload

__all__ = ["GRID", "WORKLOADS", "Setting", "Target", "Workload"]

INLINE = {"backend": "inline"}


def processes(workers: int, **fields: Any) -> dict[str, Any]:
    """A plan with worker processes that outlive the epoch."""
    return {"backend": "processes", "workers": workers, "prefetch": 2, "persistent": True, **fields}


def keep(samples: Any) -> Any:
    """A collate that leaves the samples as they are."""
    return samples


def indices(dataset: Any, batch_size: int) -> Iterator[list[int]]:
    """Batches of shuffled indices, epoch after epoch."""
    while True:
        order = torch.randperm(len(dataset)).tolist()
        for start in range(0, len(order), batch_size):
            yield order[start : start + batch_size]


def loop(dataset: Any, *, batch_size: int, collate: Any = default_collate) -> Iterator[Any]:
    """What a user would write without a loader: ask for each sample, collate."""
    for batch in indices(dataset, batch_size):
        yield collate([dataset[index] for index in batch])


def at_once(dataset: Any, *, batch_size: int) -> Iterator[Any]:
    """The same where the dataset makes a batch at a time."""
    for batch in indices(dataset, batch_size):
        yield dataset.__getitems__(batch)


def sliced(dataset: Any, *, batch_size: int) -> Iterator[Any]:
    """Rows in memory need no samples: every column is indexed once a batch."""
    while True:
        for batch in torch.randperm(len(dataset)).split(batch_size):
            yield [column[batch] for column in dataset.tensors]


def one_by_one(dataset: Any) -> Iterator[Any]:
    """Samples as they are, in order."""
    for index in count():
        yield dataset[index % len(dataset)]


def one_batch(dataset: Any, *, batch_size: int) -> Iterator[Any]:
    """The same batch again and again: what is left is the step alone."""
    batch = default_collate([dataset[index] for index in range(batch_size)])
    while True:
        yield batch


def compute(_: Any) -> None:
    """50 ms of CPU time of the trainer's thread, in products that let go of the GIL."""
    left = torch.ones(192, 192)
    end_ns = time.thread_time_ns() + 50_000_000
    while time.thread_time_ns() < end_ns:
        left @ left


def fixed(workers: int, method: str) -> tuple[Setting, ...]:
    """The one setting at which starting workers is compared."""
    return (Setting(workers, 2, method),)


def hop(size_bytes: int, *targets: Target) -> Workload:
    """One tensor a batch from one worker."""
    return Workload(
        about=f"one process hop: a fresh tensor of {size_bytes:,} bytes a batch, 1 worker",
        dataset=partial(datasets.Fresh, size_bytes),
        plain=one_by_one,
        plain_everywhere=False,
        batch_size=None,
        shuffle=False,
        plan=processes(1, prefetch=8),
        grid=tuple(Setting(1, prefetch) for prefetch in PREFETCH),
        targets=targets,
    )


def start(workers: int, method: str, *targets: Target) -> Workload:
    """Nothing but the way to the first batch, and the way out."""
    return Workload(
        about=f"{workers} workers by {method}: to the first batch, and shut down",
        dataset=datasets.Labelled,
        plain=partial(loop, batch_size=32),
        plan=processes(workers, start_method=method),
        grid=fixed(workers, method),
        targets=targets,
    )


WORKLOADS: dict[str, Workload] = {
    "rows10k": Workload(
        about="10,000 × 10 float32 in memory with labels, batch 32, shuffled, 10 epochs",
        dataset=partial(datasets.rows, 10_000, 10),
        plain=partial(sliced, batch_size=32),
        plain_everywhere=False,
        epochs=10,
        plan=INLINE,
        targets=(Target(ratio=6), Target(ratio=50, against=str(Setting(4, 2)))),
    ),
    "rows2m": Workload(
        about="2,000,000 × 64 float32 in memory with labels, batch 1,024, shuffled",
        dataset=partial(datasets.rows, 2_000_000, 64),
        batch_size=1_024,
        plain=partial(sliced, batch_size=1_024),
        plain_everywhere=False,
        plan=INLINE,
        targets=(Target(ratio=10),),
    ),
    "jpeg": Workload(
        about="JPEG of 500×375 by Pillow, random crop to 224, flip, normalise, batch 64",
        dataset=datasets.jpegs,
        batch_size=64,
        plain=partial(loop, batch_size=64),
        plan=processes(2),
        targets=(
            Target(ratio=0.97, against="limit"),
            Target(ratio=1),
            Target(ratio=1, figure="cpu_s_per_1000"),
        ),
    ),
    "latency": Workload(
        about="20 ms of latency a sample, log-normal, batch 32",
        dataset=datasets.latency,
        plain=partial(loop, batch_size=32),
        plan=processes(1, threads=112, prefetch=12),
        thread_safe=True,
        targets=(
            Target(ratio=2.5, against=str(Setting(32, 2))),
            Target(ratio=8, against=str(Setting(8, 2))),
            Target(ratio=0.25, against=str(Setting(32, 2)), figure="extra_memory_bytes"),
        ),
    ),
    "big": Workload(
        about="3×512×512 float32 in fresh memory, batch 16: 50 MB a batch",
        dataset=datasets.Big,
        batch_size=16,
        plain=partial(loop, batch_size=16),
        plan=processes(2),
        targets=(Target(ratio=4),),
    ),
    "objects": Workload(
        about="512 small tensors a batch, not stacked",
        dataset=partial(datasets.ManyTensors, 64),
        batch_size=8,
        collate=keep,
        plain=partial(loop, batch_size=8, collate=keep),
        plan=INLINE,
        targets=(Target(ratio=10, against=str(Setting(1, 2))), Target(ratio=1)),
    ),
    "tokens": Workload(
        about="windows of 1,024 tokens of a memory-mapped file, uint16 to int64, batch 16",
        dataset=datasets.Tokens,
        batch_size=16,
        plain=partial(loop, batch_size=16),
        plan=INLINE,
        targets=(Target(ratio=1.1),),
    ),
    "tokens_getitems": Workload(
        about="the same windows, a batch at a time by `__getitems__`",
        dataset=datasets.TokenBatches,
        batch_size=16,
        collate=keep,
        plain=partial(at_once, batch_size=16),
        plan=INLINE,
        targets=(Target(ratio=5),),
    ),
    "stragglers": Workload(
        about="2 % of the samples wait for 200 ms, the others for 2 ms, batch 16, in order",
        dataset=datasets.stragglers,
        batch_size=16,
        plain=partial(loop, batch_size=16),
        plan=processes(2, threads=64, prefetch=128),
        thread_safe=True,
        targets=(Target(ratio=2.2),),
    ),
    "consumer": Workload(
        about="a step of 50 ms of CPU time, light samples, batch 32",
        dataset=datasets.Labelled,
        plain=partial(one_batch, batch_size=32),
        plain_everywhere=False,
        step=compute,
        plan=processes(1),
        targets=(
            Target(ratio=0.98, against="limit"),
            Target(ratio=1, figure="cpu_s_per_1000"),
        ),
    ),
    "startup_fork": start(
        8,
        "fork",
        Target(ratio=0.5, against=str(Setting(8, 2, "fork")), figure="first_batch_s"),
        Target(ratio=0.4, against=str(Setting(8, 2, "fork")), figure="shutdown_s"),
    ),
    "startup_spawn": start(
        4,
        "spawn",
        Target(ratio=0.35, against=str(Setting(4, 2, "spawn")), figure="first_batch_s"),
    ),
    "hop_1kb": hop(1_000, Target(ratio=10)),
    "hop_1mb": hop(1_000_000, Target(ratio=10)),
    "hop_50mb": hop(50_000_000, Target(ratio=1)),
}
