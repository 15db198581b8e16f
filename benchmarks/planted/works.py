"""What samples and steps are made of: real work, in amounts that the recipe gives in seconds.

CPU work is a fixed number of units, so that it takes longer where cores share what they have, as
work does. Only what stands for a wait (a store far away, a device) sleeps.
"""

import math
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from planted.recipe import Recipe
from wellfed.testing import (
    BigTensors,
    FileReads,
    HeavyTail,
    ManyObjects,
    ManyTensors,
    NativeThreads,
    OneSlow,
    TinyItems,
    keep,
)

__all__ = ["COLLATES", "DATASETS", "calibrated_s", "work"]

# A page of text that compresses as logs do; one unit of work is to inflate it once: some 50 µs.
PAGE = zlib.compress(
    b"".join(b"%d image_%d.jpg label=%d\n" % (k, k * 7, k % 10) for k in range(600))
)
LOOPS = 1_500  # of Python, that take about as long


def work(units: int, interpreted: bool = False) -> None:
    """So many units of CPU time; `interpreted` holds the interpreter's lock all the while."""
    for _ in range(units):
        if interpreted:
            sum(number & 7 for number in range(LOOPS))
        else:
            zlib.decompress(PAGE)


def calibrated_s(interpreted: bool) -> float:
    """CPU seconds of one unit on this machine: the least of several looks."""
    looks = []
    for _ in range(15):
        began = time.thread_time()
        work(40, interpreted)
        looks.append((time.thread_time() - began) / 40)
    return min(looks)


@dataclass(frozen=True)
class Repeated(Dataset[Any]):
    """A few samples over and over: a window of the oracle holds all of them several times."""

    dataset: Any
    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index % len(self.dataset)]


@dataclass(frozen=True)
class Computed(Dataset[Tensor]):
    """Samples of CPU time, of which some may be spent waiting for them first."""

    length: int
    units: int
    interpreted: bool
    wait_s: float = 0.0
    jitter: float = 0.0
    """Spread of the waits: standard deviation over mean, about."""

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        if self.wait_s:
            # The same wait at the same index; steps of the golden ratio land evenly in (0, 1).
            place = (index * 0.6180339887498949) % 1
            time.sleep(self.wait_s * (1 + math.sqrt(12) * self.jitter * (place - 0.5)))
        work(self.units, self.interpreted)
        return torch.full((16,), float(index))


def computed(recipe: Recipe) -> Computed:
    sizes = recipe.sizes
    units = round(sizes["cpu_s"] / recipe.unit_s)
    return Computed(
        recipe.length,
        max(1, units) if sizes["cpu_s"] else 0,
        bool(sizes.get("interpreted")),
        sizes.get("wait_s", 0.0),
        sizes.get("jitter", 0.0),
    )


def rows(recipe: Recipe) -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    columns = int(recipe.sizes["columns"])
    table = torch.empty(recipe.length, columns).uniform_(generator=generator)
    return TensorDataset(table, torch.arange(recipe.length) % 10)


def files(recipe: Recipe) -> FileReads:
    count = int(recipe.sizes["files"])
    paths = tuple(f"{recipe.folder}/{number:03d}" for number in range(count))
    return FileReads(paths, cold=bool(recipe.sizes["cold"]), length=recipe.length)


DATASETS: dict[str, Callable[[Recipe], Dataset[Any]]] = {
    "computed": computed,
    "rows": rows,
    "files": files,
    "tiny": lambda of: TinyItems(int(of.sizes["floats"]), length=of.length),
    "big": lambda of: BigTensors(int(of.sizes["sample_bytes"]), length=of.length),
    "tensors": lambda of: ManyTensors(int(of.sizes["tensors"]), length=of.length),
    "tail": lambda of: Repeated(
        HeavyTail(of.sizes["median_s"], of.sizes["sigma"], length=144), of.length
    ),
    "objects": lambda of: ManyObjects(int(of.sizes["objects"]), length=of.length),
    "one_slow": lambda of: OneSlow(
        of.sizes["usual_s"], of.sizes["slow_s"], int(of.sizes["every"]), length=of.length
    ),
    "native": lambda of: NativeThreads(
        int(of.sizes["threads"]), int(of.sizes["size"]), length=of.length
    ),
}


def pack(samples: list[tuple[Tensor, ...]]) -> Tensor:
    """One tensor of all those of a batch."""
    return torch.cat([tensor for sample in samples for tensor in sample])


def work_and_stack(samples: list[Tensor], units: int, interpreted: bool) -> Tensor:
    """Work on the batch as a whole, as padding and masking do."""
    work(units, interpreted)
    return torch.stack(samples)


def working(recipe: Recipe) -> Callable[[list[Tensor]], Tensor]:
    units = round(recipe.sizes["collate_s"] / recipe.unit_s)
    interpreted = bool(recipe.sizes.get("interpreted"))
    return partial(work_and_stack, units=units, interpreted=interpreted)


COLLATES: dict[str, Callable[[Recipe], Callable[[list[Any]], Any] | None]] = {
    "": lambda _: None,
    "pack": lambda _: pack,
    "keep": lambda _: keep,
    "work": working,
}
