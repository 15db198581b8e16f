"""Data that tells on whoever touches it: importable, so that workers may be spawned."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, Sampler, get_worker_info

Sample = dict[str, Any]


def tell(index: int, calls: list[str]) -> Sample:
    """A sample with a draw of each generator, and with all that its dataset was asked so far."""
    info = get_worker_info()
    return {
        "index": index,
        "worker": -1 if info is None else info.id,
        "seed": -1 if info is None else info.seed,
        "calls": "|".join(calls),
        "python": random.random(),
        "numpy": np.random.rand(),
        "x": torch.randn(3),
    }


class Map(Dataset[Sample]):
    def __init__(self, length: int) -> None:
        self.length = length
        self.calls: list[str] = []

    def __len__(self) -> int:
        self.calls.append("len")
        return self.length

    def __getitem__(self, index: int) -> Sample:
        self.calls.append(f"item {index}")
        return tell(index, self.calls[-3:])


class Batched(Map):
    def __getitems__(self, indices: list[int]) -> list[Sample]:
        self.calls.append(f"items {type(indices).__name__} {indices}")
        return [tell(index, self.calls[-3:]) for index in indices]


class Stream(IterableDataset[Sample]):
    def __init__(self, length: int) -> None:
        self.length = length
        self.calls: list[str] = []

    def __iter__(self) -> Iterator[Sample]:
        self.calls.append("iter")
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        for index in range(first, self.length, step):
            self.calls.append(f"next {index}")
            yield tell(index, self.calls[-3:])


class Broken(Map):
    def __getitem__(self, index: int) -> Sample:
        if index == 5:
            raise LookupError(f"sample {index} is broken")
        return super().__getitem__(index)


class Batches(Sampler[list[int]]):
    """Batches of uneven sizes, drawn from the global generator; notes every call."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.calls: list[str] = []

    def __len__(self) -> int:
        self.calls.append("len")
        return self.length

    def __iter__(self) -> Iterator[list[int]]:
        self.calls.append("iter")
        for number in range(self.length):
            self.calls.append(f"next {number}")
            size = int(torch.randint(1, 5, ()))
            yield torch.randint(self.length, (size,)).tolist()
        self.calls.append("end")


KINDS: dict[str, type[Map] | type[Stream]] = {
    "map": Map,
    "batched": Batched,
    "iterable": Stream,
    "broken": Broken,
}
