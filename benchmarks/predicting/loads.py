"""What is predicted: samples, a batch size and a step each, so that a batch takes 1 to 50 ms."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from workloads import datasets

from wellfed.testing import HeavyTail, ManyObjects, keep

__all__ = ["LOADS", "Load"]


@dataclass(frozen=True, kw_only=True)
class Load:
    """One job and the step that follows each batch."""

    about: str
    dataset: Callable[[], Dataset[Any]]
    batch_size: int
    collate: Callable[[Any], Any] | None = None
    step: Callable[[Any], object] | None = None


def wait(seconds: float, _: Any) -> None:
    """A step on a device: the CPU is free meanwhile."""
    time.sleep(seconds)


def compute(rounds: int, _: Any) -> None:
    """A step on the CPU: a fixed amount of work, in products that let go of the GIL."""
    left = torch.ones(192, 192)
    for _ in range(rounds):
        left @ left


class Python(Dataset[Tensor]):
    """Pure Python: a fixed amount of work a sample, however fast the core is."""

    def __init__(self, loops: list[int], waits_s: float = 0.0) -> None:
        self.loops, self.waits_s = loops, waits_s

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> Tensor:
        if self.waits_s:
            time.sleep(self.waits_s)
        for _ in range(self.loops[index % len(self.loops)]):
            sum(range(500))
        return torch.full((256,), float(index))


def uneven() -> Python:
    """Work that is lognormal between samples, in an order that repeats after 211 of them."""
    tail = HeavyTail(1.0, sigma=1.0)
    return Python([round(200 * tail.seconds(index)) for index in range(211)])


def stragglers() -> datasets.Waiting:
    """One sample in fifty takes 20 ms, the others half a millisecond."""
    waits_s = np.full(400, 0.0005)
    waits_s[np.random.default_rng(0).choice(400, 8, replace=False)] = 0.02
    return datasets.Waiting(waits_s.tolist())


def latency() -> datasets.Waiting:
    """2 ms in the mean, log-normal, in an order that repeats after 401 samples."""
    draws = np.random.default_rng(0).lognormal(0, 0.5, 401)
    return datasets.Waiting((0.002 * draws / draws.mean()).tolist())


LOADS: dict[str, Load] = {
    "jpeg": Load(
        about="JPEG of 500×375 by Pillow, batch 8; a device's step of 5 ms",
        dataset=datasets.jpegs,
        batch_size=8,
        step=partial(wait, 0.005),
    ),
    "jpeg_cpu": Load(
        about="the same; a step of about 15 ms on the CPU",
        dataset=datasets.jpegs,
        batch_size=8,
        step=partial(compute, 120),
    ),
    "latency": Load(
        about="2 ms of latency a sample, lognormal, batch 8",
        dataset=latency,
        batch_size=8,
    ),
    "mixed": Load(
        about="1 ms of latency and 0.5 ms of Python a sample, batch 8; a device's step of 2 ms",
        dataset=partial(Python, [80], 0.001),
        batch_size=8,
        step=partial(wait, 0.002),
    ),
    "python": Load(
        about="about 1 ms of pure Python a sample, batch 8",
        dataset=partial(Python, [320]),
        batch_size=8,
    ),
    "uneven": Load(
        about="pure Python, lognormal between samples (sigma 1), batch 4; a device's step of 1 ms",
        dataset=uneven,
        batch_size=4,
        step=partial(wait, 0.001),
    ),
    "stragglers": Load(
        about="one sample in fifty waits for 20 ms, the others for 0.5 ms, batch 8",
        dataset=stragglers,
        batch_size=8,
    ),
    "big": Load(
        about="3×512×512 float32 in fresh memory, batch 4: 13 MB a batch",
        dataset=datasets.Big,
        batch_size=4,
    ),
    "objects": Load(
        about="32 small tensors a batch, not stacked",
        dataset=partial(datasets.ManyTensors, 16),
        batch_size=2,
        collate=keep,
    ),
    "strings": Load(
        about="200 strings a sample, batch 16",
        dataset=partial(ManyObjects, 200, length=1_000_000),
        batch_size=16,
        collate=keep,
    ),
    "tokens": Load(
        about="windows of 1,024 tokens of a memory-mapped file, batch 16",
        dataset=datasets.Tokens,
        batch_size=16,
    ),
    "rows": Load(
        about="500,000 × 64 float32 in memory with labels, batch 256",
        dataset=partial(datasets.rows, 500_000, 64),
        batch_size=256,
    ),
    "consumer": Load(
        about="light samples, batch 32; a step of about 10 ms on the CPU",
        dataset=datasets.Labelled,
        batch_size=32,
        step=partial(compute, 80),
    ),
}
