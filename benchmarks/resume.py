"""What `state_dict` costs: asked at every step, and never, in turns.

    python benchmarks/resume.py [--steps 400] [--step-ms 5] [--rounds 4]

Each sample draws from all three global generators, so that each batch carries where the streams of
its worker stand. `riding` is what that costs a worker for each batch, and the trainer.
"""

import argparse
import random
import statistics
import time
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

import wellfed
from wellfed._engine.stream_states import StreamStates
from wellfed._engine.streams import Streams

BATCH = 16


class Drawing(Dataset[Tensor]):
    """A sample of 4 KB that draws."""

    def __init__(self, steps: int) -> None:
        self.length = steps * BATCH

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        return torch.rand(1024) * random.random() * np.random.rand()


def epoch_s(steps: int, step_s: float, each_step: Callable[[Any], object]) -> float:
    """Seconds for the steps of one epoch, less the first few."""
    loader = wellfed.DataLoader(Drawing(steps), batch_size=BATCH, shuffle=True, num_workers=1)
    begun = 0.0
    for number, _ in enumerate(loader):
        if number == 10:
            begun = time.perf_counter()
        end = time.perf_counter() + step_s
        while time.perf_counter() < end:
            pass
        each_step(loader)
    return time.perf_counter() - begun


def never(_loader: Any) -> None:
    """Nothing is asked."""


def asked(loader: Any) -> None:
    """Where the loader stands."""
    loader.state_dict()


def riding_us(number: int = 5_000) -> dict[str, float]:
    """What riding costs for each batch, in microseconds."""
    streams, states, seat = Streams(1, (0,)), StreamStates(), memoryview(bytearray(1 << 16))
    streams.moved()
    numbers = iter(range(10**9))

    def drawing() -> None:
        random.random()
        streams.moved()

    def received() -> None:
        one = next(numbers)
        states.arrived(0, one, bytes(seat[:10_200]))
        states.delivered(0, one)

    ways = {
        "worker, nothing drawn": streams.moved,
        "worker, drawn": drawing,
        "trainer, drawn": received,
    }
    return {
        name: min(timeit.repeat(way, number=number, repeat=5)) / number * 1e6  # type: ignore[arg-type]
        for name, way in ways.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--step-ms", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=4)
    given = parser.parse_args()
    for name, cost_us in riding_us().items():
        print(f"riding, {name}: {cost_us:.1f} us")
    loader = wellfed.DataLoader(Drawing(40), batch_size=BATCH, num_workers=1)
    batches = iter(loader)
    for _ in range(5):
        next(batches)
    one_us = min(timeit.repeat(loader.state_dict, number=200, repeat=5)) / 200 * 1e6
    del batches
    print(f"state_dict(): {one_us:.0f} us")
    took: dict[Any, list[float]] = {never: [], asked: []}
    for _ in range(given.rounds):
        for way, seconds in took.items():
            seconds.append(epoch_s(given.steps, given.step_ms / 1e3, way))
    without, with_it = (statistics.median(seconds) for seconds in took.values())
    share = 100 * (with_it / without - 1)
    print(f"steps of {given.step_ms} ms: {without:.3f} s, asked at each: {with_it:.3f} s")
    print(f"asked at each step: {share:+.2f} %")


if __name__ == "__main__":
    main()
