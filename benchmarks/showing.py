"""What it costs a training loop to be seen by `wellfed top`.

    python benchmarks/showing.py [--seconds S] [--rounds N]

One status, timed by itself: worked out, encoded and written. Four of them a second is what showing
costs, and the share is out of that. Then the same loop shown and not shown, in turn, whose mean
periods should differ by no more than this: a check that nothing was left out of the first figure.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import TensorDataset

import wellfed
from wellfed._engine.reading import read_plan
from wellfed._engine.watch.recorder import Recorder
from wellfed._engine.watch.showing import PERIOD_NS
from wellfed._serving import REPORTED
from wellfed.testing import CpuBurn, spin

STATUSES = 400


def rows() -> Any:
    table = TensorDataset(torch.randn(100_000, 10), torch.randn(100_000, 1))
    return wellfed.DataLoader(table, batch_size=32)


def burning(workers: int) -> Any:
    return wellfed.DataLoader(CpuBurn(0.0005, length=10**6), batch_size=4, num_workers=workers)


WORKS: dict[str, tuple[Callable[[], Any], float]] = {
    "rows in memory": (rows, 0.0),
    "a worker, step of 5 ms": (lambda: burning(1), 0.005),
    "16 workers, step of 20 ms": (lambda: burning(16), 0.02),
}
"""What makes a loader, and the CPU seconds of a step."""


def unshown(loader: Any) -> Any:
    loader._recorder = Recorder(None, loader, read_plan(loader), most_spans=REPORTED)
    return loader


def period_us(loader: Any, step_s: float, seconds: float) -> float:
    """Mean microseconds from one batch to the next; the start of an epoch is left out."""
    batches, took_s, until = 0, 0.0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        iterator = iter(loader)
        next(iterator)
        began = time.perf_counter()
        for _ in iterator:
            if step_s:
                spin(step_s)
            batches += 1
            if time.perf_counter() > until:
                break
        took_s += time.perf_counter() - began
    return took_s / batches * 1e6


def status_us(loader: Any, seconds: float) -> float:
    """Median microseconds of one status of a loader that has run."""
    period_us(loader, 0.0, seconds)
    took = []
    for _ in range(STATUSES):
        began = time.perf_counter_ns()
        loader._recorder.show(began)
        took.append(time.perf_counter_ns() - began)
    return statistics.median(took) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run, two a round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name, (make, step_s) in WORKS.items():
        one_us = status_us(make(), 1.0)
        shares = []
        for _ in range(args.rounds):
            off = period_us(unshown(make()), step_s, args.seconds)
            shares.append(period_us(make(), step_s, args.seconds) / off - 1)
        shares.sort()
        print(
            f"{name:26s} a status {one_us:6.0f} µs, {one_us * 1e3 / PERIOD_NS:.3%} of the time; "
            f"in turn {statistics.median(shares):+.2%} ({shares[0]:+.2%} to {shares[-1]:+.2%})"
        )


if __name__ == "__main__":
    main()
