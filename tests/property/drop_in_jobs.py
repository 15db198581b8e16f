"""What a loader may be given: importable, so that workers may be spawned.

Every dataset and sampler notes what it was asked; its notes are compared, too.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from drop_in_batches import Pair, nested
from torch.utils.data import (
    BatchSampler,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    get_worker_info,
)

Sample = dict[str, Any]
SOURCES = ("python", "numpy", "torch")


def draw(sources: tuple[str, ...]) -> Sample:
    """A number from each of these global generators."""
    draws: dict[str, Callable[[], Any]] = {
        "python": random.random,
        "numpy": np.random.rand,
        "torch": partial(torch.randn, 2),
    }
    return {name: draws[name]() for name in sources}


@dataclass(eq=False)
class Map(Dataset[Sample]):
    """A sample is a function of its index and of what it draws."""

    length: int
    draws: tuple[str, ...] = ()
    deep: bool = False
    """Whether samples are nested and of many types."""
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        self.notes.append("len")
        return self.length

    def __getitem__(self, index: int) -> Sample:
        self.notes.append(f"item {index}")
        return self.make(index)

    def make(self, index: int) -> Sample:
        sample: Sample = {"index": index, "x": torch.full((3,), float(index))}
        if self.deep:
            sample["deep"] = nested(index)
        return sample | draw(self.draws)


class Batched(Map):
    """Is asked for a whole batch at a time."""

    def __getitems__(self, indices: list[int]) -> list[Sample]:
        self.notes.append(f"items {type(indices).__name__} {indices}")
        return [self.make(index) for index in indices]


class Owner(Map):
    """Draws from generators of its own, which nobody seeds anew."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.python, self.numpy = random.Random(4), np.random.default_rng(5)
        self.torch = torch.Generator().manual_seed(6)

    def make(self, index: int) -> Sample:
        own = {
            "own python": self.python.random(),
            "own numpy": self.numpy.random(),
            "own torch": torch.randn(2, generator=self.torch),
        }
        return super().make(index) | own


class Counter(Map):
    """Changes itself: says how many samples it has made so far."""

    made = 0

    def make(self, index: int) -> Sample:
        self.made += 1
        return super().make(index) | {"made": self.made}


class Asking(Map):
    """Asks who is asking."""

    def make(self, index: int) -> Sample:
        return super().make(index) | whoami(self)


class Broken(Map):
    """Fails at every fifth sample, in one of three ways."""

    def make(self, index: int) -> Sample:
        fail_at_some(index)
        return super().make(index)


def fail_at_some(index: int) -> None:
    if index % 5 == 3:
        raise (
            LookupError(f"sample {index}\nis broken"),
            KeyError(index),
            Particular("sample", index),
        )[index // 5 % 3]


class Still(Map):
    """Notes nothing of its samples, so that fetching them changes nothing."""

    def __getitem__(self, index: int) -> Sample:
        return self.make(index)


class Sometimes(Still):
    """Draws at every seventh sample only."""

    def make(self, index: int) -> Sample:
        sample = super().make(index) if index % 7 == 4 else Map(self.length).make(index)
        return {"index": sample["index"], "x": sample["x"] + sample.get("python", 0.0)}


class Wonders(Still):
    """Asks who is asking at every seventh sample only."""

    def make(self, index: int) -> Sample:
        worker = whoami(self)["worker"] if index % 7 == 4 else 0
        return super().make(index) | {"worker": worker}


class Fragile(Still):
    """Fails as `Broken` does."""

    def make(self, index: int) -> Sample:
        fail_at_some(index)
        return super().make(index)


class Particular(Exception):
    """Cannot be built from a message alone."""

    def __init__(self, what: str, which: int) -> None:
        super().__init__(what, which)


class Stream(IterableDataset[Sample]):
    """The same samples in every worker."""

    def __init__(self, length: int, draws: tuple[str, ...] = (), deep: bool = False) -> None:
        self.maker = Map(length, draws, deep)
        self.notes: list[str] = []

    def __repr__(self) -> str:
        return "a stream"  # a warning of torch's names it

    def indices(self) -> range:
        return range(self.maker.length)

    def __iter__(self) -> Iterator[Sample]:
        self.notes.append("iter")
        for index in self.indices():
            self.notes.append(f"next {index}")
            yield self.maker.make(index)


class Sharded(Stream):
    """Each worker has its own samples."""

    def indices(self) -> range:
        info = get_worker_info()
        if info is None:
            return super().indices()
        return range(info.id, self.maker.length, info.num_workers)


class Measured(Sharded):
    """Claims a length that is one short, which torch warns of."""

    def __len__(self) -> int:
        self.notes.append("len")
        return max(0, self.maker.length - 1)


DATASETS: dict[str, type[Map] | type[Stream]] = {
    one.__name__.lower(): one
    for one in (
        *(Map, Batched, Owner, Counter, Asking, Broken, Still, Sometimes, Wonders, Fragile),
        *(Stream, Sharded, Measured),
    )
}


def whoami(dataset: Any) -> Sample:
    """What the worker knows of itself."""
    info = get_worker_info()
    if info is None:
        return {"worker": -1, "workers": 0, "seed": 0, "mine": False, "threads": 0}
    return {
        "worker": info.id,
        "workers": info.num_workers,
        "seed": info.seed,
        "mine": info.dataset is dataset,
        "threads": torch.get_num_threads(),
    }


def mark(worker: int) -> None:
    """A `worker_init_fn` that draws, and changes the worker's dataset."""
    info = get_worker_info()
    assert info is not None
    dataset: Any = info.dataset
    torch.rand(worker + 1)
    if isinstance(dataset, Map):
        dataset.draws = (*dataset.draws, "python")


class Noted(Sampler[int]):
    """Shuffles with the global generator; notes every call, and is no generator itself."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.notes: list[str] = []

    def __len__(self) -> int:
        self.notes.append("len")
        return self.length

    def __iter__(self) -> Iterator[int]:
        self.notes.append("iter")
        return self.indices(torch.randperm(self.length).tolist())

    def indices(self, order: list[int]) -> Iterator[int]:
        for index in order:
            self.notes.append(f"next {index}")
            yield index
        self.notes.append("end")


class Uneven(Noted):
    """Batches of one to four indices, drawn one by one."""

    def __iter__(self) -> Iterator[Any]:
        self.notes.append("iter")
        for number in range(self.length // 2):
            self.notes.append(f"next {number}")
            size = int(torch.randint(1, 5, ()))
            yield torch.randint(self.length, (size,)).tolist()
        self.notes.append("end")


def order(name: str, dataset: Any, batch_size: int | None, drop_last: bool) -> dict[str, Any]:
    """The arguments of a loader that say which samples come when."""
    length = dataset.length
    own = torch.Generator().manual_seed(8)
    plain: dict[str, Any] = {"batch_size": batch_size}
    if batch_size is not None:
        plain["drop_last"] = drop_last
    if name in ("sequential", "shuffled"):
        return plain | {"shuffle": name == "shuffled"}
    if name == "generator":
        return plain | {"shuffle": True, "generator": own}
    if name == "uneven":
        return {"batch_sampler": Uneven(length)}
    if name == "batches":
        return {"batch_sampler": BatchSampler(Noted(length), batch_size or 2, drop_last)}
    if name == "replacement":
        return plain | {"sampler": RandomSampler(dataset, True, length + 3, generator=own)}
    if name == "distributed":
        return plain | {"sampler": DistributedSampler(dataset, num_replicas=2, rank=1, seed=9)}
    assert name == "noted"
    return plain | {"sampler": Noted(length)}


ORDERS = (
    "sequential",
    "shuffled",
    "generator",
    "uneven",
    "batches",
    "replacement",
    "distributed",
    "noted",
)


def first(sample: Any) -> Pair:
    """A collate for a sample, or for a list of them, that draws."""
    samples = sample if isinstance(sample, list) else [sample]
    return Pair(torch.stack([one["x"] for one in samples]), draw(SOURCES))
