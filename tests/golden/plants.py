"""Datasets, collate functions and surroundings of the planted runs that only these need."""

import contextlib
import mmap
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from wellfed.testing import Planted

Around = Callable[[], AbstractContextManager[Any]]

PAGE_BYTES = 4096


@dataclass(frozen=True)
class MappedRows(Planted):
    """Copies one page of a large mapped file a sample, in an order that jumps about.

    What the kernel read is given up at once, as it would be by a file larger than memory.
    """

    path: str
    pages: int

    def _make(self, index: int) -> Tensor:
        with open(self.path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            # Steps of the golden ratio touch every part of the file, and no page twice.
            first = int(self.pages * ((index * 0.6180339887498949) % 1)) * PAGE_BYTES
            row = bytearray(mapped[first : first + PAGE_BYTES])
            mapped.close()
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return torch.frombuffer(row, dtype=torch.uint8)


class Annotations(Planted):
    """Returns annotations as COCO has them: dictionaries of Python numbers, held in memory."""

    def __init__(self, boxes: int, length: int = 512) -> None:
        super().__init__(length=length)
        kept = [
            [
                {"id": image * boxes + box, "bbox": [box + 0.5, box + 1.5, image + 0.5, 3.5]}
                for box in range(boxes)
            ]
            for image in range(length)
        ]
        object.__setattr__(self, "_kept", kept)

    def _make(self, index: int) -> list[dict[str, Any]]:
        kept: list[list[dict[str, Any]]] = self._kept  # type: ignore[attr-defined]
        return kept[index]


@dataclass(frozen=True)
class Sentences(Planted):
    """Returns token numbers, 800 to 1,600 of them a sample, as a list."""

    def _make(self, index: int) -> list[int]:
        return TOKENS[: 800 + index % 800]


TOKENS = list(range(1600))


def rank() -> int:
    """The rank of this process; 0 outside a run of several."""
    return int(os.environ.get("RANK", "0"))


def meet(_batch: Any) -> None:
    """A step in which every rank waits for all others."""
    dist.all_reduce(torch.zeros(1))
    time.sleep(0.002)


class OneConnection(Planted):
    """Asks a server over a connection that all workers share, one of them at a time."""

    def __init__(self, seconds: float, length: int = 1024) -> None:
        super().__init__(length=length)
        object.__setattr__(self, "_lock", multiprocessing.Lock())
        object.__setattr__(self, "_seconds", seconds)

    def _make(self, index: int) -> Tensor:
        with self._lock:  # type: ignore[attr-defined]
            time.sleep(self._seconds)  # type: ignore[attr-defined]
        return torch.tensor(index)


def pad_in_python(samples: list[list[int]]) -> Tensor:
    """A `collate_fn` that pads number by number."""
    longest = max(len(sample) for sample in samples)
    rows = [
        [sample[place] if place < len(sample) else 0 for place in range(longest)]
        for sample in samples
    ]
    return torch.tensor(rows)


@contextlib.contextmanager
def in_group(controller: str, limit: str, value: str) -> Iterator[None]:
    """A cgroup v1 group with one limit, which this process is in meanwhile. Needs root."""
    parent = Path("/sys/fs/cgroup") / controller
    group = parent / f"wellfed-{os.getpid()}"
    group.mkdir()
    try:
        (group / limit).write_text(value)
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (parent / "cgroup.procs").write_text(pid)
        group.rmdir()


def control_group(controller: str, limit: str, value: str) -> Around:
    """The same as something to do meanwhile."""
    return lambda: in_group(controller, limit, value)


def burners(count: int) -> Around:
    """Other people's processes that compute without end: not ours by descent."""

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        # Each in a session of its own: the kernel shares cores out among sessions first.
        burn = f"setsid {sys.executable} -c 'while True: pass' >/dev/null 2>&1 & echo $!; "
        # A shell in between ends at once, so that the burners are nobody's children here.
        started = subprocess.run(
            ["sh", "-c", burn * count], stdout=subprocess.PIPE, check=True, start_new_session=True
        )
        try:
            yield
        finally:
            for pid in started.stdout.split():
                os.kill(int(pid), 9)

    return around


def disk(
    files: int, file_bytes: int, bytes_per_s: int, memory_limit_bytes: int | None = None
) -> Around:
    """Cold files on a disk that gives no more than so many bytes a second."""

    @contextlib.contextmanager
    def around() -> Iterator[tuple[str, ...]]:
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp"))
            paths = tuple(f"{folder}/{number:03d}" for number in range(files))
            for path in paths:
                Path(path).write_bytes(os.urandom(file_bytes))
            os.sync()
            for path in paths:
                with open(path, "rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            device = os.stat(folder).st_dev
            rule = f"{os.major(device)}:{os.minor(device)} {bytes_per_s}"
            stack.enter_context(in_group("blkio", "blkio.throttle.read_bps_device", rule))
            if memory_limit_bytes is not None:
                limit = "memory.limit_in_bytes"
                stack.enter_context(in_group("memory", limit, str(memory_limit_bytes)))
            yield paths

    return around
