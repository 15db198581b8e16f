"""What watching costs: the same training loop with and without it, in turn.

    python benchmarks/overhead.py [--seconds S] [--rounds N] [--json FILE] [WORK ...]

Each round runs a piece of work unwatched and watched, the next one watched and unwatched, so that a
drift of the machine's speed cancels. A batch costs what its wait and its step took, together; the
first one of an iterator, with the start-up, is left out. The k-th batch of a run is compared with
the k-th of the others, which holds the same samples and is watched as closely: its cost is the
median over the rounds, so that what else the machine did meanwhile drops out, and a figure is the
mean over k. Its interval, of 90 %, comes from drawing the rounds again.

Watched by the watch alone, and under a whole observation, with its gauges. What a median cannot
show is what happens to one batch in hundreds: that is the look at whether enough was seen, which a
report counts apart.
"""

import argparse
import importlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
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


def batches_ns(work: Work, batches: int, seconds: float = float("inf")) -> list[int]:
    """What each of so many batches took from the one before; fewer if the time is up before."""
    loader = work.loader()
    took: list[int] = []
    until = time.perf_counter() + seconds
    while len(took) < batches and time.perf_counter() < until:
        iterator = iter(loader)
        next(iterator)
        last_ns = time.perf_counter_ns()
        for _ in iterator:
            if work.step_s:
                spin(work.step_s)
            now_ns = time.perf_counter_ns()
            took.append(now_ns - last_ns)
            last_ns = now_ns
            if len(took) >= batches or now_ns / 1e9 > until:
                break
    return took


@dataclass(frozen=True)
class Figure:
    """What one way of watching costs one piece of work."""

    work: str
    way: str
    rounds: int
    batches: int
    """Batches in each run of a round."""
    off_us: float
    """A batch without us."""
    overhead_us: float
    """What a batch costs more with us."""
    overhead_us_low: float
    overhead_us_high: float
    overhead_us_per_sample: float
    overhead_share: float
    overhead_share_low: float
    overhead_share_high: float


def figure(name: str, way: str, rounds: int, seconds: float) -> Figure:
    work = WORKS[name]
    batches = len(batches_ns(work, 10**9, seconds))  # and warms up
    off, on = [], []
    for number in range(rounds):
        for watched in (False, True) if number % 2 else (True, False):
            with WAYS[way]() if watched else nullcontext():
                (on if watched else off).append(batches_ns(work, batches))
    plain, seen = np.array(off) / 1e3, np.array(on) / 1e3
    again = np.random.default_rng(0).integers(rounds, size=(200, rounds))
    low, high = np.quantile([_more(plain[drawn], seen[drawn]) for drawn in again], (0.05, 0.95))
    off_us, more_us = float(np.median(plain, axis=0).mean()), _more(plain, seen)
    return Figure(
        work=name,
        way=way,
        rounds=rounds,
        batches=batches,
        off_us=off_us,
        overhead_us=more_us,
        overhead_us_low=float(low),
        overhead_us_high=float(high),
        overhead_us_per_sample=more_us / work.samples,
        overhead_share=more_us / off_us,
        overhead_share_low=float(low) / off_us,
        overhead_share_high=float(high) / off_us,
    )


def _more(off: NDArray[np.float64], on: NDArray[np.float64]) -> float:
    """How much more the batches took when watched: rounds by batches in, one mean out."""
    return float((np.median(on, axis=0) - np.median(off, axis=0)).mean())


def show(figures: list[Figure]) -> None:
    print(f"{'work':28s} {'way':8s} {'off':>11s} {'overhead':>9s} {'90 %':>19s} a batch, a sample")
    for one in figures:
        between = f"{one.overhead_share_low:+.2%} .. {one.overhead_share_high:+.2%}"
        print(
            f"{one.work:28s} {one.way:8s} {one.off_us:8.1f} µs {one.overhead_share:+9.2%} "
            f"{between:>19s} {one.overhead_us:6.1f} µs, {one.overhead_us_per_sample:5.2f} µs"
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
    parser.add_argument("--seconds", type=float, default=0.7, help="of each run, two a round")
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
