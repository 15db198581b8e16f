"""Datasets that go wrong on purpose: importable, so that workers may be spawned."""

import ctypes
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.utils.data import Dataset

import wellfed

PATIENCE_S = 10.0


@dataclass(frozen=True)
class Numbers(Dataset[Tensor]):
    """Sample i is `floats` times i."""

    length: int = 100
    floats: int = 4

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        return torch.full((self.floats,), float(index))


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crash() -> None:
    ctypes.string_at(0)


def leave() -> None:
    os._exit(3)


def ask_to_leave() -> None:
    sys.exit(4)


def leave_in_peace() -> None:
    """As a worker that is told to end does, without having been told."""
    sys.exit(0)


@dataclass(frozen=True)
class Once:
    """Something that is done so many times, whatever process comes here first."""

    what: Callable[[], None]
    mark: str
    """Begins the names of files that say that it was done."""
    times: int = 1

    def __call__(self) -> None:
        for number in range(self.times):
            try:
                os.close(os.open(f"{self.mark}.{number}", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            self.what()
            return


@dataclass(frozen=True)
class Dying(Numbers):
    """Ends its process at one sample."""

    how: Callable[[], None] = kill
    at: int = 21

    def __getitem__(self, index: int) -> Tensor:
        if index == self.at:
            self.how()
        return super().__getitem__(index)


@dataclass(frozen=True)
class Drawing(Dying):
    """Its samples are drawn from the three global generators, in part before it ends."""

    def __getitem__(self, index: int) -> Tensor:
        drawn = torch.rand(self.floats) + random.random()
        return super().__getitem__(index) + drawn + np.random.rand()


@dataclass(frozen=True)
class Slow(Numbers):
    """Waits at every sample."""

    seconds: float = 0.02

    def __getitem__(self, index: int) -> Tensor:
        time.sleep(self.seconds)
        return super().__getitem__(index)


def begun(dataset: Any, **options: Any) -> Any:
    """An iterator of our engine's processes."""
    options = {"batch_size": 4, "num_workers": 2, **options}
    iterator: Any = iter(wellfed.DataLoader(dataset, **options))
    assert iterator.backend == "processes"
    return iterator


def firsts(batches: Any) -> list[float]:
    """The first number of each batch: of `Numbers`, the first index."""
    return [float(batch.flatten()[0]) for batch in batches]


def same(batches: Any, others: Any) -> bool:
    """Whether these are the same batches, bit for bit."""
    pairs = list(zip(batches, others, strict=True))
    return all(torch.equal(one, other) for one, other in pairs)


def template_of(iterator: Any) -> int:
    pid: int = iterator._stream._crew._template.pid
    return pid


def gone(pids: list[int], within_s: float = PATIENCE_S) -> bool:
    """Whether these processes end in time."""
    deadline = time.monotonic() + within_s
    while any(_runs(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
