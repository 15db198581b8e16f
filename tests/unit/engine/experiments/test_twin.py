"""The copy has the loader's arguments, draws nothing of it, and says when it cannot be made."""

import multiprocessing
import random
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    TensorDataset,
)

from wellfed._engine.experiments.staged import Ask, Init
from wellfed._engine.experiments.twin import Asks, build, index_batches, untouched, why_not
from wellfed._engine.reading import read_plan

NUMBERS = TensorDataset(torch.arange(40))


class Mine(Sampler[int]):
    """A sampler with a state of its own."""

    def __init__(self) -> None:
        self.begun = 0

    def __iter__(self) -> Iterator[int]:
        self.begun += 1
        return iter(range(self.begun, 40))


def test_the_sampler_is_copied_and_the_original_stays_where_it_was() -> None:
    mine = Mine()
    loader = DataLoader(NUMBERS, batch_size=2, sampler=mine)

    batches = index_batches(loader)

    assert mine.begun == 0
    assert batches[0] == [1, 2]


def test_a_copied_generator_gives_what_the_loader_would_have_given() -> None:
    generator = torch.Generator().manual_seed(3)
    sampler = RandomSampler(NUMBERS, generator=generator)
    loader: Any = DataLoader(NUMBERS, batch_sampler=BatchSampler(sampler, 4, drop_last=False))

    batches = index_batches(loader)

    assert batches == list(loader.batch_sampler)


def test_the_dataset_is_not_copied_with_the_sampler() -> None:
    class Heavy(Dataset[int]):
        def __len__(self) -> int:
            return 8

        def __deepcopy__(self, memo: Any) -> Any:
            raise AssertionError("copied")

    heavy = Heavy()

    assert len(index_batches(DataLoader(heavy, shuffle=True))) == 8


def test_global_generators_are_put_back() -> None:
    before = random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()

    with untouched(DataLoader(NUMBERS)):
        random.random()
        np.random.rand()
        torch.rand(())

    after = random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()
    assert before == after


class Drawing(Dataset[float]):
    """Holds generators of every kind, one of them in its transform."""

    def __init__(self) -> None:
        self.torch = torch.Generator()
        self.numpy = np.random.default_rng(1)
        self.old = np.random.RandomState(1)
        self.transform = random.Random(1)

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> float:
        torch.rand((), generator=self.torch)
        return float(self.numpy.random() + self.old.rand() + self.transform.random())

    def where(self) -> tuple[object, ...]:
        numpys = repr(self.numpy.bit_generator.state), repr(self.old.get_state())
        return self.torch.get_state().tolist(), self.transform.getstate(), numpys


def test_generators_that_the_dataset_holds_are_put_back() -> None:
    dataset = Drawing()
    before = dataset.where()

    with untouched(DataLoader(dataset)):
        _ = dataset[0]
        assert dataset.where() != before

    assert dataset.where() == before


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(4))


class OptedOut(Dataset[int]):
    wellfed_experiments = False

    def __len__(self) -> int:
        return 8


class Rewound(DataLoader[Any]):
    def __iter__(self) -> Any:
        return super().__iter__()


@pytest.mark.parametrize(
    ("loader", "why"),
    [
        (None, "the loader is gone"),
        (DataLoader(Stream()), "an IterableDataset"),
        (DataLoader(OptedOut()), "its dataset says wellfed_experiments = False"),
        (DataLoader(Subset(OptedOut(), [1])), "its dataset says"),
        (DataLoader(ConcatDataset([NUMBERS, OptedOut()])), "its dataset says"),
        (Rewound(NUMBERS), "Rewound brings its own __iter__"),
    ],
)
def test_what_cannot_be_copied_says_why(loader: Any, why: str) -> None:
    assert why_not(loader).startswith(why)


def test_an_ordinary_loader_can_be_copied() -> None:
    assert why_not(DataLoader(NUMBERS, batch_size=2)) == ""


def test_the_stage_turns_with_the_next_batch_asked_for() -> None:
    asks = Asks([[0], [1], [2]])
    stream = iter(asks)

    first = next(stream)
    asks.turn_to(Ask("tiny", None, delay_s=0.5))
    second = next(stream)
    asks.turn_to(Ask("warm", None), place=0)

    assert [first, second, next(stream)] == [
        Ask("as_is", [0]),
        Ask("tiny", [1], delay_s=0.5),
        Ask("warm", [0]),
    ]


def test_the_copy_is_made_of_the_same_arguments() -> None:
    loader = DataLoader(
        NUMBERS, batch_size=4, num_workers=2, prefetch_factor=3, in_order=False, timeout=5
    )

    twin = build(loader, read_plan(loader), Asks(index_batches(loader)), Init(None), 9.0)

    assert twin.dataset.dataset is NUMBERS
    assert read_plan(twin) == read_plan(loader)
    assert twin.timeout == 9.0


def test_a_loader_without_workers_can_be_tried_with_some_and_fixes_no_start_method() -> None:
    chosen = multiprocessing.get_start_method(allow_none=True)
    loader = DataLoader(NUMBERS, batch_size=4)
    plan = msgspec.structs.replace(read_plan(loader), workers=2, prefetch=2)

    twin = build(loader, plan, Asks(index_batches(loader)), Init(None), 9.0)

    assert twin.num_workers == 2
    assert multiprocessing.get_start_method(allow_none=True) == chosen
