"""What is loaded when a loader is taken up: importable, so that workers may be spawned."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, Sampler, get_worker_info

Sample = tuple[Any, ...]
LENGTH = 22


def draw() -> tuple[float, ...]:
    return (
        random.random(),
        random.gauss(0, 1),
        float(np.random.randn()),
        float(torch.randn(())),
    )


class Plain(Dataset[Sample]):
    """A sample is a function of its index."""

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> Sample:
        return (index,)


class Drawing(Plain):
    def __getitem__(self, index: int) -> Sample:
        return index, *draw()


class Sometimes(Plain):
    """Draws at every seventh sample only."""

    def __getitem__(self, index: int) -> Sample:
        return (index, *draw()) if index % 7 == 4 else (index, 0.0, 0.0, 0.0, 0.0)


class Asking(Plain):
    """Asks who is asking."""

    def __getitem__(self, index: int) -> Sample:
        info = get_worker_info()
        return index, -1 if info is None else info.id


class Failing(Drawing):
    """Some samples raise, after they have drawn."""

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        if index % 9 == 5:
            raise ValueError(f"sample {index}")
        return sample


class Owner(Plain):
    """Draws from a generator of its own."""

    def __init__(self) -> None:
        self.generator = np.random.default_rng(5)

    def __getitem__(self, index: int) -> Sample:
        return index, self.generator.random()


class Counting(Plain):
    """Counts, and can be told how far it has come."""

    def __init__(self) -> None:
        self.made = 0

    def __getitem__(self, index: int) -> Sample:
        self.made += 1
        return index, self.made, random.random()

    def state_dict(self) -> dict[str, Any]:
        return {"made": self.made}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.made = state["made"]


class Reading(IterableDataset[Sample]):
    """Each worker has its share; shares differ in length."""

    def __iter__(self) -> Iterator[Sample]:
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        for number in range(first, LENGTH - 3 * first, step):
            yield number, random.random()


class Placed(IterableDataset[Sample]):
    """Can be set to a place."""

    def __init__(self) -> None:
        self.place = -1

    def __iter__(self) -> Iterator[Sample]:
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        begun, self.place = self.place, -1
        for number in range(first if begun < 0 else begun + step, LENGTH - 3 * first, step):
            self.place = number
            yield number, float(torch.rand(()))
        self.place = -1

    def state_dict(self) -> dict[str, Any]:
        return {"place": self.place}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.place = state["place"]


class Eager(Sampler[int]):
    """Draws its order when it is asked to begin."""

    def __iter__(self) -> Iterator[int]:
        return iter(torch.randperm(LENGTH).tolist())

    def __len__(self) -> int:
        return LENGTH


class Lots(Sampler[list[int]]):
    """Uneven batches, drawn with a generator of its own."""

    def __init__(self) -> None:
        self.generator = random.Random(3)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(range(LENGTH))
        self.generator.shuffle(order)
        while order:
            size = self.generator.randint(1, 4)
            yield order[:size]
            order = order[size:]


class Stateful(Sampler[int]):
    """Never ends, and knows where it is."""

    def __init__(self) -> None:
        self.at = 0

    def __iter__(self) -> Iterator[int]:
        while True:
            self.at += 1
            yield self.at * 5 % LENGTH

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = state["at"]
