"""The datasets: each makes its samples afresh, at the same price whoever asks.

A dataset that returns the same tensor twice would let torch skip the copy to shared memory, so none
does.
"""

import importlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

__all__ = [
    "Big",
    "Fresh",
    "Labelled",
    "ManyTensors",
    "Repeated",
    "TokenBatches",
    "Tokens",
    "Waiting",
    "jpegs",
    "latency",
    "rows",
    "stragglers",
]

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRATCH = Path(tempfile.gettempdir())


def rows(length: int, columns: int) -> TensorDataset:
    """Rows of float32 in memory, with a label each."""
    generator = torch.Generator().manual_seed(0)
    table = torch.empty(length, columns).uniform_(generator=generator)
    return TensorDataset(table, torch.arange(length) % 10)


class Repeated(Dataset[Any]):
    """The samples of a small dataset over and over, so that an epoch outlasts a measurement."""

    def __init__(self, dataset: Any, length: int) -> None:
        self.dataset, self.length = dataset, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index % len(self.dataset)]


def jpegs() -> Repeated:
    """Pictures of about 500×375 pixels, randomly cropped to 224, flipped, normalised."""
    if str(EXAMPLES) not in sys.path:
        sys.path.insert(0, str(EXAMPLES))
    folder = SCRATCH / "wellfed-bench-pictures"
    importlib.import_module("make_jpegs").make_jpegs(folder, images=400)
    return Repeated(importlib.import_module("train_images").JpegFolder(folder), 100_000)


class Waiting(Dataset[Tensor]):
    """A small picture each, after a wait that depends on the index alone."""

    def __init__(self, waits_s: list[float], length: int = 1_000_000) -> None:
        self.waits_s, self.length = waits_s, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        time.sleep(self.waits_s[index % len(self.waits_s)])
        return torch.full((3, 32, 32), index % 256, dtype=torch.uint8)


def latency() -> Waiting:
    """20 ms in the mean, log-normal: a remote store."""
    sigma = 0.5
    mean_of_log = np.log(0.020) - sigma**2 / 2
    waits_s = np.random.default_rng(0).lognormal(mean_of_log, sigma, 10_007)
    return Waiting(waits_s.tolist())


def stragglers() -> Waiting:
    """One sample in fifty takes 200 ms, the others 2 ms."""
    slow = np.random.default_rng(0).random(10_007) < 0.02
    return Waiting(np.where(slow, 0.2, 0.002).tolist())


class Big(Dataset[Tensor]):
    """3 MB of floats each, in memory of its own."""

    def __len__(self) -> int:
        return 100_000

    def __getitem__(self, index: int) -> Tensor:
        return torch.full((3, 512, 512), float(index))


class ManyTensors(Dataset[list[Tensor]]):
    """A list of small tensors each, every one with a storage of its own."""

    def __init__(self, tensors: int) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> list[Tensor]:
        return [torch.full((8,), float(index)) for _ in range(self.tensors)]


class Labelled(Dataset[tuple[Tensor, int]]):
    """Light samples: a few hundred floats and a label."""

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.full((256,), float(index)), index % 10


class Fresh(Dataset[Tensor]):
    """One new tensor of so many bytes each."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> Tensor:
        return torch.full((self.size_bytes,), index % 256, dtype=torch.uint8)


TOKENS = 40_000_000
BLOCK = 1_024


class Tokens(Dataset[tuple[Tensor, Tensor]]):
    """Windows of a memory-mapped file of tokens, and the same one token later."""

    def __init__(self) -> None:
        path = SCRATCH / f"wellfed-bench-tokens-{TOKENS}.bin"
        if not path.exists():
            unfinished = path.with_suffix(f".{time.time_ns()}")
            values = np.random.default_rng(0).integers(0, 50_000, TOKENS, dtype=np.uint16)
            values.tofile(unfinished)
            unfinished.rename(path)
        self.tokens = np.memmap(path, dtype=np.uint16, mode="r")

    def __len__(self) -> int:
        return (TOKENS - 1) // BLOCK

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        window = self.tokens[index * BLOCK : (index + 1) * BLOCK + 1].astype(np.int64)
        return torch.from_numpy(window[:-1]), torch.from_numpy(window[1:])


class TokenBatches(Tokens):
    """The same windows, a batch at a time."""

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """A whole batch: the collate has nothing left to do."""
        starts = np.asarray(indices)[:, None] * BLOCK
        windows = self.tokens[starts + np.arange(BLOCK + 1)].astype(np.int64)
        return torch.from_numpy(windows[:, :-1]), torch.from_numpy(windows[:, 1:])
