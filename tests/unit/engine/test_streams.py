"""Logical workers draw what torch's workers draw, though several of them live in one process."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from wellfed._engine.streams import Streams

WORKERS = 3
BATCHES = 4
Draws = list[float]


def draw() -> Draws:
    """From all three generators; odd numbers of normal ones, which come in pairs."""
    return [
        random.random(),
        random.gauss(0, 1),
        float(np.random.rand()),
        float(np.random.randn()),
        float(torch.randn(())),
    ]


class Drawing(Dataset[Any]):
    def __len__(self) -> int:
        return WORKERS * BATCHES

    def __getitem__(self, index: int) -> tuple[int, int, Draws]:
        info = get_worker_info()
        assert info is not None
        return info.id, info.seed - info.id, draw()


@pytest.fixture(scope="module")
def torchs() -> tuple[int, dict[int, list[Draws]]]:
    """The base seed, and what each of torch's workers drew."""
    torch.manual_seed(11)
    drawn: dict[int, list[Draws]] = {worker: [] for worker in range(WORKERS)}
    seeds = set()
    for worker, seed, draws in DataLoader(Drawing(), batch_size=None, num_workers=WORKERS):
        drawn[worker].append(draws)
        seeds.add(seed)
    (base_seed,) = seeds
    return base_seed, drawn


@pytest.fixture(autouse=True)
def _generators_as_they_were() -> Iterator[None]:
    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(kept[0])
    np.random.set_state(kept[1])
    torch.set_rng_state(kept[2])


@pytest.mark.parametrize("worker", range(WORKERS))
def test_one_worker_alone_draws_what_torchs_draws(worker: int, torchs: Any) -> None:
    base_seed, expected = torchs
    streams = Streams(base_seed, [worker])
    drawn = []
    for _ in range(BATCHES):
        streams.enter(worker)
        drawn.append(draw())

    assert drawn == expected[worker]


@pytest.mark.parametrize(
    "turns",
    [
        [0, 1, 2] * BATCHES,
        [2, 1, 0] * BATCHES,
        [0] * BATCHES + [1] * BATCHES + [2] * BATCHES,
        [0, 0, 1, 2, 2, 2, 1, 0, 1, 1, 2, 0],
    ],
    ids=str,
)
def test_several_workers_in_one_process_draw_what_torchs_draw(
    turns: list[int], torchs: Any
) -> None:
    base_seed, expected = torchs
    streams = Streams(base_seed, range(WORKERS))
    drawn: dict[int, list[Draws]] = {worker: [] for worker in range(WORKERS)}
    for worker in turns:
        streams.enter(worker)
        drawn[worker].append(draw())

    assert drawn == expected


def test_the_first_worker_begins() -> None:
    streams = Streams(5, [4, 2])

    assert streams.current == 4

    streams.enter(2)

    assert streams.current == 2
