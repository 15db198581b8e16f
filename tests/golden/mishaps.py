"""Datasets and surroundings in which something is about to go wrong, for planted runs.

Beside `wellfed.testing`, whose datasets depend on their index alone: these hold state.
"""

import contextlib
import ctypes
import os
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from wellfed.testing import spin

CLONE_NEWNS = 0x00020000


class Rows(Dataset[Tensor]):
    """Many small Python objects, as annotations are kept: fat to pickle, and copied when read."""

    def __init__(self, rows: int, *, length: int, seconds: float) -> None:
        self.rows = [(number, str(number), float(number)) for number in range(rows)]
        self.length = length
        self.seconds = seconds

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        spin(self.seconds)
        return torch.tensor(self.rows[index][2])


class PackedRows(Dataset[Tensor]):
    """The same as one array."""

    def __init__(self, rows: int, *, seconds: float) -> None:
        self.rows = np.arange(16.0 * rows).reshape(rows, 16)
        self.seconds = seconds

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        spin(self.seconds)
        return torch.tensor(self.rows[index, 2])


class Caching(Dataset[Tensor]):
    """Computes a sample once and remembers it."""

    def __init__(self, seconds: float, *, length: int) -> None:
        self.seconds = seconds
        self.length = length
        self.cache: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        if index not in self.cache:
            spin(self.seconds)
            self.cache[index] = torch.tensor(index)
        return self.cache[index]


class Augmented(Dataset[Tensor]):
    """Adds noise: from a generator made once in the trainer, or from the global ones."""

    def __init__(self, *, own: bool) -> None:
        self.rng = np.random.default_rng(0) if own else None

    def __len__(self) -> int:
        return 1024

    def __getitem__(self, index: int) -> Tensor:
        spin(0.0002)
        noise = self.rng.random() if self.rng is not None else np.random.random()
        return torch.rand(8) + index + noise


class Staged(Dataset[Tensor]):
    """Depends on the epoch, which the script sets."""

    def __init__(self) -> None:
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return 256

    def __getitem__(self, index: int) -> Tensor:
        spin(0.0002)
        return torch.tensor([index, self.epoch])


class Pages(Dataset[Tensor]):
    """Rows of one large array, which may be in swap."""

    def __init__(self, n_bytes: int) -> None:
        self.rows = np.random.default_rng(0).integers(0, 255, (n_bytes // 2**18, 2**18), np.uint8)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self.rows[index][::4096].copy())


def hoard() -> Callable[[Any], None]:
    """A step that keeps every batch as it came."""
    kept: list[Any] = []
    return kept.append


def set_epoch(loader: Any, epoch: int) -> None:
    """Tells whoever wants to know: the dataset, the sampler."""
    for one in (loader.dataset, loader.sampler):
        if hasattr(one, "set_epoch"):
            one.set_epoch(epoch)


@contextlib.contextmanager
def shared_memory_of(size: str) -> Iterator[None]:
    """A /dev/shm of that size, seen by this process and its children alone. Needs root."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "cannot have mounts of our own")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", "/dev/shm"], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", "/dev/shm"], check=True)


@contextlib.contextmanager
def open_files(limit: int) -> Iterator[None]:
    """No more than so many open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def swap_file(n_bytes: int) -> Iterator[None]:
    """Swap on the machine's disk, where it has none. Needs root."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = os.path.join(folder, "swap")
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, n_bytes)
        os.chmod(path, 0o600)
        subprocess.run(["mkswap", path], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["swapon", path], check=True)
        try:
            yield
        finally:
            subprocess.run(["swapoff", path], check=True)
