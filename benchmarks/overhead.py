"""What watching costs: the same training loop with and without it, in turn.

    python benchmarks/overhead.py [--seconds S] [--rounds N] [--json FILE] [WORK ...]

Each round runs a piece of work unwatched, watched, and unwatched again (A B A), so that a drift of
the machine's speed cancels; a figure is the median over the rounds, with the middle half of them.
Watched by the watch alone, and under a whole observation, with its gauges and its decisions.
A batch costs what its wait and its step took, together; its first one, with the start-up, is left
out. Run it on a quiet machine: what one round differs from the next is the noise.
"""

import argparse
import importlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

import wellfed
from wellfed._engine.watch.loaders import Watch
from wellfed.testing import CpuBurn, ManyTensors, TinyItems, keep, spin

EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass(frozen=True)
class Work:
    """A loader, and what a step does with its batches."""

    loader: Callable[[], DataLoader[Any]]
    samples: int
    """Samples in a batch."""
    step_s: float = 0.0
    """CPU time of a step."""


class Watched:
    """A `with` block of the watch alone."""

    def __enter__(self) -> None:
        self._watch = Watch()
        self._watch.install()

    def __exit__(self, *_: object) -> None:
        self._watch.undo()


WAYS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "watch": Watched,
    "observe": wellfed.observe,
}


def jpegs() -> DataLoader[Any]:
    """The pictures of examples/train_images.py, decoded in the trainer's process."""
    sys.path.insert(0, str(EXAMPLES))
    folder = Path(tempfile.gettempdir()) / "wellfed-bench-jpegs"
    importlib.import_module("make_jpegs").make_jpegs(folder, images=200)
    return DataLoader(importlib.import_module("train_images").JpegFolder(folder), batch_size=8)


def rows(batch_size: int) -> DataLoader[Any]:
    table = TensorDataset(torch.randn(100_000, 10), torch.randn(100_000, 1))
    return DataLoader(table, batch_size=batch_size)


def burning(workers: int) -> DataLoader[Any]:
    return DataLoader(CpuBurn(0.0005, length=100_000), batch_size=4, num_workers=workers)


WORKS = {
    "step of 5 ms, a worker": Work(lambda: burning(1), 4, step_s=0.005),
    "step of 50 ms, a worker": Work(lambda: burning(1), 4, step_s=0.05),
    "step of 5 ms, in process": Work(
        lambda: DataLoader(TinyItems(length=10**6), batch_size=32), 32, step_s=0.005
    ),
    "JPEGs, batch of 8": Work(jpegs, 8),
    "200 tensors, a worker": Work(
        lambda: DataLoader(
            ManyTensors(25, length=100_000), batch_size=8, num_workers=1, collate_fn=keep
        ),
        8,
    ),
    "rows in memory, batch of 32": Work(lambda: rows(32), 32),
    "rows in memory, batch of 256": Work(lambda: rows(256), 256),
    "rows in memory, batch of 1": Work(lambda: rows(1), 1),
}


def batch_s(work: Work, seconds: float) -> float:
    """Mean seconds from one batch to the next, over a run of so many.

    Not the median: some batches are watched more closely than others.
    """
    loader = work.loader()
    spent_s, batches = 0.0, 0
    while spent_s < seconds:
        iterator = iter(loader)
        next(iterator)
        began = now = time.perf_counter()
        for _ in iterator:
            batches += 1
            if work.step_s:
                spin(work.step_s)
            now = time.perf_counter()
            if spent_s + now - began > seconds:
                break
        spent_s += now - began
    return spent_s / batches


@dataclass(frozen=True)
class Figure:
    """What one way of watching costs one piece of work."""

    work: str
    way: str
    off_us: float
    """A batch without us."""
    on_us: float
    overhead_share: float
    overhead_share_low: float
    """The middle half of the rounds lies between low and high."""
    overhead_share_high: float
    overhead_us: float
    overhead_us_per_sample: float


def figure(name: str, way: str, rounds: int, seconds: float) -> Figure:
    work = WORKS[name]
    off, on, extra = [], [], []
    for _ in range(rounds):
        first = batch_s(work, seconds)
        with WAYS[way]():
            watched = batch_s(work, seconds)
        around = (first + batch_s(work, seconds)) / 2
        off.append(around)
        on.append(watched)
        extra.append(watched / around - 1)
    low, middle, high = statistics.quantiles(extra, n=4) if rounds > 1 else extra * 3
    off_us = statistics.median(off) * 1e6
    return Figure(
        work=name,
        way=way,
        off_us=off_us,
        on_us=statistics.median(on) * 1e6,
        overhead_share=middle,
        overhead_share_low=low,
        overhead_share_high=high,
        overhead_us=middle * off_us,
        overhead_us_per_sample=middle * off_us / work.samples,
    )


def show(figures: list[Figure]) -> None:
    print(
        f"{'work':30s} {'way':8s} {'off':>10s} {'on':>10s} {'overhead':>9s} "
        f"{'middle half':>18s} {'a batch':>9s} {'a sample':>9s}"
    )
    for one in figures:
        spread = f"{one.overhead_share_low:+.2%} .. {one.overhead_share_high:+.2%}"
        print(
            f"{one.work:30s} {one.way:8s} {one.off_us:7.1f} µs {one.on_us:7.1f} µs "
            f"{one.overhead_share:+8.2%} {spread:>19s} {one.overhead_us:6.1f} µs "
            f"{one.overhead_us_per_sample:6.2f} µs"
        )


def machine() -> dict[str, Any]:
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "wellfed": wellfed.__version__,
        "kernel": platform.release(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", nargs="*", help=f"of {list(WORKS)}; all of them by default")
    parser.add_argument("--way", choices=WAYS, action="append", help="both by default")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=0.7, help="of each of three runs a round")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    figures = [
        figure(name, way, args.rounds, args.seconds)
        for name in WORKS
        if not args.work or any(part in name for part in args.work)
        for way in args.way or WAYS
    ]
    print(" · ".join(f"{name} {value}" for name, value in machine().items()))
    show(figures)
    if args.json:
        told = {"machine": machine(), "figures": [asdict(one) for one in figures]}
        args.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
