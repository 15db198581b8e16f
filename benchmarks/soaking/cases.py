"""What is loaded in the soak: datasets that may move between workers, and such that may not."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

__all__ = ["BATCH", "BATCHES", "CASES", "Case"]

BATCHES = 200
"""In an epoch."""
BATCH = 8
LENGTH = BATCHES * BATCH
FLOATS = 16_384
"""Of a sample: 64 KiB, and a batch of 512 KiB."""


class Free(Dataset[Tensor]):
    """A sample is a function of its index."""

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> Tensor:
        return torch.full((FLOATS,), float(index))


class Drawing(Free):
    """Draws from the three global generators."""

    def __getitem__(self, index: int) -> Tensor:
        drawn = random.random() + float(np.random.random()) + float(torch.rand(1))
        return super().__getitem__(index) + drawn


class OwnGenerator(Free):
    """Draws from a generator of its own: each worker has a copy of it."""

    def __init__(self) -> None:
        self.own = random.Random(4)

    def __getitem__(self, index: int) -> Tensor:
        return super().__getitem__(index) + self.own.random()


class Counting(Free):
    """Counts what it fetched, and tells in each sample."""

    def __init__(self) -> None:
        self.fetched = 0

    def __getitem__(self, index: int) -> Tensor:
        self.fetched += 1
        return super().__getitem__(index) + self.fetched


class Changing(Free):
    """Changes what it holds as it is read."""

    def __init__(self) -> None:
        self.held = {"offset": 0.0}

    def __getitem__(self, index: int) -> Tensor:
        self.held["offset"] = (self.held["offset"] * 3 + index) % 101
        return super().__getitem__(index) + self.held["offset"]


class Stream(IterableDataset[Tensor]):
    """Each worker has its share of an endless order."""

    def __iter__(self) -> Iterator[Tensor]:
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info is not None else (0, 1)
        for index in range(first, LENGTH, step):
            yield torch.full((FLOATS,), float(index))


@dataclass(frozen=True)
class Case:
    """One kind of job."""

    name: str
    dataset: Callable[[], Any]
    workers: int | str = 4
    stays: bool = False
    """Whether a worker's death loses what nobody can make again: then it raises, as in torch."""


CASES = (
    Case("free", Free),
    Case("drawing", Drawing),
    Case("by position", Drawing, workers="auto"),
    Case("iterable", Stream, stays=True),
    Case("own generator", OwnGenerator, stays=True),
    Case("counter", Counting, stays=True),
    Case("self-mutating", Changing, stays=True),
)
