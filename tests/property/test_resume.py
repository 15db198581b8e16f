"""A loader that is taken up gives, bit for bit, what the undisturbed one would have given."""

import io
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from resume_jobs import (
    LENGTH,
    Asking,
    Counting,
    Drawing,
    Eager,
    Failing,
    Lots,
    Owner,
    Placed,
    Plain,
    Reading,
    Sometimes,
    Stateful,
)
from torch.utils.data import RandomSampler, TensorDataset

import wellfed

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)

Make = Callable[..., Any]
MOST = 8
"""Batches looked at in an epoch: one of them never ends."""


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def loader(dataset: Any, **given: Any) -> Any:
    return wellfed.DataLoader(dataset, **{"batch_size": 3, **given})


JOBS: dict[str, Make] = {
    "plain": lambda **how: loader(Plain(), **how),
    "shuffled": lambda **how: loader(Plain(), shuffle=True, **how),
    "drawing": lambda **how: loader(Drawing(), shuffle=True, **how),
    "own generator": lambda **how: loader(Drawing(), shuffle=True, generator=seeded(3), **how),
    "now and then": lambda **how: loader(Sometimes(), shuffle=True, drop_last=True, **how),
    "asking": lambda **how: loader(Asking(), **how),
    "failing": lambda **how: loader(Failing(), **how),
    "eager": lambda **how: loader(Drawing(), sampler=Eager(), **how),
    "one by one": lambda **how: loader(Drawing(), batch_size=None, sampler=Eager(), **how),
    "lots": lambda **how: wellfed.DataLoader(Drawing(), batch_sampler=Lots(), **how),
    "stateful sampler": lambda **how: loader(Drawing(), sampler=Stateful(), **how),
    "owner": lambda **how: loader(Owner(), shuffle=True, **how),
    "counting": lambda **how: loader(Counting(), shuffle=True, **how),
    "reading": lambda **how: loader(Reading(), **how),
    "placed": lambda **how: loader(Placed(), **how),
    "rows": lambda **how: loader(
        TensorDataset(torch.arange(LENGTH)),
        sampler=RandomSampler(range(LENGTH), replacement=True, num_samples=40, generator=seeded(5)),
        **how,
    ),
}


@pytest.fixture(autouse=True)
def _generators_as_they_were() -> Iterator[None]:
    kept = rng()
    yield
    restore(kept)


def rng() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def restore(kept: tuple[Any, ...]) -> None:
    random.setstate(kept[0])
    np.random.set_state(kept[1])
    torch.set_rng_state(kept[2])


def seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def plain(batch: Any) -> Any:
    if isinstance(batch, (list, tuple)):
        return [plain(one) for one in batch]
    return batch.tolist() if isinstance(batch, torch.Tensor) else batch


def some(batches: Any, count: int) -> list[Any]:
    """So many batches, or what was raised in their place."""
    came: list[Any] = []
    while len(came) < count:
        try:
            came.append(plain(next(batches)))
        except StopIteration:
            came.append("end")
            break
        except ValueError as error:
            came.append(str(error).splitlines()[0])
    return came


def saved(state: dict[str, Any]) -> dict[str, Any]:
    """What comes of it on its way through a file."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return dict(torch.load(file, weights_only=True))


def passes(one: Any, first: Any, left: int, epochs: int) -> list[Any]:
    """The rest of an epoch, and those after it."""
    came = [some(first, left)]
    return came + [some(iter(one), MOST) for _ in range(epochs)]


def check(make: Make, stop: int, how: dict[str, Any], then: dict[str, Any], before: int) -> None:
    """Stop after so many batches of the epoch after `before` others, and go on in a new loader."""
    seed(7)
    one = make(**how)
    for _ in range(before):
        some(iter(one), MOST)
    batches = iter(one)
    some(batches, stop)
    state, trainers = saved(one.state_dict()), rng()
    expected = passes(one, batches, MOST - stop, 1)
    ended = rng()[0]
    del batches
    seed(99)
    other = make(**then)
    restore(trainers)

    other.load_state_dict(state)
    came = passes(other, iter(other), MOST - stop, 1)

    assert came == expected
    assert ended == rng()[0]


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [0, 3])
def test_it_goes_on_where_it_stopped(job: str, workers: int, stop: int) -> None:
    how = {"num_workers": workers}

    check(JOBS[job], stop, how, how, 0)
