"""What it gains to copy each sample into its batch at once, by the size of the samples.

A batch of fresh samples is stacked at the end, as torch does, and one by one, by the engine's
`stacking`, in turn, in one process that keeps its freed memory as a worker does.

    python benchmarks/stacking.py [--samples 16] [--rounds 5]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from wellfed._engine import stacking, worker

SIZES_KIB = (64, 256, 512, 1024, 2048, 4096)
BATCHES = 4  # that take turns, as a window of slabs does
REPEATS = 40


def ways(floats: int, samples: int) -> dict[str, Callable[[int], Any]]:
    """Both ways to make batch k."""
    batches = [torch.zeros(samples, floats) for _ in range(BATCHES)]
    early = stacking.Stacking(default_collate)
    turn = 0

    def made(number: int) -> Tensor:
        return torch.full((floats,), float(number))

    def at_the_end(k: int) -> Any:
        every = [made(number) for number in range(samples)]
        return torch.stack(every, 0, out=batches[k % BATCHES])

    def one_by_one(k: int) -> Any:
        nonlocal turn
        turn = k % BATCHES
        stack = early.begun([made(0)], samples)
        assert stack is not None
        for number in range(1, samples):
            stack.take(made(number))
            stack.settle()
        return default_collate(stack.samples)

    stacking._room_for = lambda _first, _count: batches[turn]
    return {"at the end": at_the_end, "one by one": one_by_one}


def median_us(way: Callable[[int], Any], samples: int) -> float:
    """Of a sample."""
    took = []
    for k in range(REPEATS):
        began = time.perf_counter()
        way(k)
        took.append(time.perf_counter() - began)
    return statistics.median(took) / samples * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=16, help="in a batch")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    worker._keep_freed_memory()
    torch.set_num_threads(1)
    stacking.LEAST_BYTES = 1
    for kib in SIZES_KIB:
        two = ways(kib * 256, args.samples)
        rounds = [
            {name: median_us(way, args.samples) for name, way in two.items()}
            for _ in range(args.rounds)
        ]
        ratios = sorted(one["one by one"] / one["at the end"] for one in rounds)
        figures = ", ".join(
            f"{name} {statistics.median(one[name] for one in rounds):.1f} us" for name in two
        )
        middle = statistics.median(ratios)
        print(f"{kib:5d} KiB: {figures}: {middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
