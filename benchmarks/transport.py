"""What a batch costs on its way from a worker to the trainer: the defaults of `Transport`.

Batches of several shapes are made with and without a worker, in turn, and touched by the trainer.
What the worker's fetch, its serialising, and the trainer's receiving and first touch cost beyond
making the same batch in the trainer is fitted by fixed + per tensor + per byte, on either side.

    python benchmarks/transport.py                    torch's loader
    python benchmarks/transport.py --loader wellfed   our engine, for `pipeline.ENGINES`
"""

import argparse
import statistics
import time
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import wellfed
from wellfed._engine.watch.loaders import Watch
from wellfed._insight.stats import summarise

SHAPES = ((1, 256), (2, 2_560), (8, 2_560), (64, 256), (2, 250_000), (1, 2_500_000), (4, 1_250_000))
"""Tensors in a batch, and floats in each."""

SAMPLES = 8


class Prepared(Dataset[list[torch.Tensor]]):
    """Samples that lie ready, so that a fetch is nothing but its collate."""

    def __init__(self, tensors: int, floats: int) -> None:
        self.sample = [torch.ones(floats // SAMPLES) for _ in range(tensors)]

    def __len__(self) -> int:
        return 100_000

    def __getitem__(self, index: int) -> list[torch.Tensor]:
        return self.sample


def cost(
    kind: type[Any], tensors: int, floats: int, workers: int, batches: int
) -> tuple[float, float]:
    """CPU seconds per batch of the maker, and of the trainer's receiving and first touch."""
    watch = Watch()
    zero = time.perf_counter_ns()
    watch.install()
    loader = kind(Prepared(tensors, floats), batch_size=SAMPLES, num_workers=workers)
    touches = []
    try:
        for number, batch in enumerate(loader):
            began = time.thread_time_ns()
            for tensor in batch:
                tensor.sum()
            touches.append((time.thread_time_ns() - began) / 1e9)
            if number == batches:
                break
    finally:
        watch.undo()
    (recorder,) = watch.recorders.values()
    stats = summarise(recorder.trace(zero, time.perf_counter_ns()))
    assert stats is not None
    stages = stats.stages
    made = stages["fetch"].cpu_s or 0.0
    sent = (stages["serialise"].cpu_s or 0.0) if "serialise" in stages else 0.0
    received = stages["receive"].wall_s.value if "receive" in stages else 0.0
    return made + sent, received + statistics.median(touches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--loader", choices=("torch", "wellfed"), default="torch")
    args = parser.parse_args()
    kind = wellfed.DataLoader if args.loader == "wellfed" else DataLoader
    torch.set_num_threads(1)
    rows, maker, trainer = [], [], []
    for tensors, floats in SHAPES:
        extra = []
        for _ in range(args.rounds):
            there = cost(kind, tensors, floats, 1, args.batches)
            here = cost(kind, tensors, floats, 0, args.batches)
            extra.append((there[0] - here[0], there[1] - here[1]))
        ours, theirs = (statistics.median(column) for column in zip(*extra, strict=True))
        bytes_ = 4 * tensors * floats
        rows.append((1.0, tensors, bytes_))
        maker.append(ours)
        trainer.append(theirs)
        print(
            f"{tensors:3d} x {floats:9,d} floats: worker {ours * 1e6:8.0f} us more, "
            f"trainer {theirs * 1e6:8.0f} us more"
        )
    for name, seconds in (("worker", maker), ("trainer", trainer)):
        # Weighted, so that a small batch counts as much as a large one.
        weights = 1 / np.maximum(np.array(seconds), 30e-6)
        fit, *_ = np.linalg.lstsq(np.array(rows) * weights[:, None], seconds * weights, rcond=None)
        print(
            f"{name:8s} fixed {fit[0] * 1e6:6.0f} us   per tensor {fit[1] * 1e6:6.1f} us   "
            f"per byte {fit[2] * 1e9:6.3f} ns"
        )


if __name__ == "__main__":
    main()
