"""A closer look tells equal samples, draws and caches from others, and changes none of them."""

import functools
import gc
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from wellfed._engine.watch.fingerprints import (
    ELEMENTS,
    global_generators,
    of_generator,
    of_indices,
    of_sample,
)
from wellfed._engine.watch.garbage import Garbage
from wellfed._engine.watch.holdings import MOST_NODES, PLACES, holdings, whole_numbers
from wellfed._engine.watch.looking import FIRST, MOST_LOOKS, MOST_PRINTS, Looking
from wellfed.testing import FakeClock


class Transform:
    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)


@functools.lru_cache
def decoded(index: int) -> int:
    return index


class Data(Dataset[Any]):
    def __init__(self) -> None:
        self.epoch = 3
        self.cache: dict[int, int] = {}
        self.images: list[int | None] = [None] * (4 * PLACES)
        self.transform = Transform()
        self.names = ["a"] * (4 * PLACES)

    def __getitem__(self, index: int) -> Any:
        self.cache[index] = decoded(index)
        return torch.tensor([index, index + 1])


SAMPLES: list[Any] = [
    7,
    "text",
    torch.arange(10),
    torch.arange(10.0).reshape(2, 5).t(),
    torch.tensor(1).expand(1_000_000),
    np.arange(1_000),
    (torch.zeros(3), 1),
    {"x": np.ones(3), "y": 2},
]


@pytest.mark.parametrize("sample", SAMPLES, ids=repr)
def test_equal_samples_have_equal_checksums(sample: Any) -> None:
    again = torch.clone(sample) if isinstance(sample, torch.Tensor) else sample

    assert of_sample(sample) == of_sample(again) != 0


def test_samples_that_differ_in_the_middle_differ() -> None:
    one, other = torch.zeros(2, 100 * ELEMENTS), torch.zeros(2, 100 * ELEMENTS)
    other[0, 50 * ELEMENTS :] = 1

    assert of_sample(one) != of_sample(other)


@pytest.mark.parametrize(
    "sample", [None, object(), torch.empty(2, device="meta"), [], np.array([object()])], ids=repr
)
def test_what_cannot_be_read_has_no_checksum(sample: Any) -> None:
    assert of_sample(sample) == 0


def test_indices_that_are_no_numbers_have_no_order() -> None:
    assert of_indices(["a"], 0) == -1
    assert of_indices([1], -1) == -1
    assert of_indices([None, None], 0) == -1
    assert of_indices([1, 2], 0) != of_indices([2, 1], 0)


def test_the_global_generators_stay_where_they_are() -> None:
    torch.manual_seed(0)
    before = global_generators()

    assert before == global_generators()

    random.random()
    np.random.random()
    torch.rand(1)

    assert all(place != before[name] for name, place in global_generators().items())


@pytest.mark.parametrize(
    "generator",
    [
        np.random.default_rng(5),
        np.random.RandomState(5),
        random.Random(5),
        torch.Generator().manual_seed(5),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_generator_is_known_by_where_it_stands(generator: Any) -> None:
    place = of_generator(generator)

    assert place is not None
    assert place == of_generator(generator)

    draw = getattr(generator, "random", None) or getattr(generator, "random_sample", None)
    torch.rand(1, generator=generator) if draw is None else draw()

    assert place != of_generator(generator)


def test_what_a_dataset_holds_is_found_by_its_path() -> None:
    data = Data()

    found = holdings(data)

    assert set(found.generators) == {"transform.rng"}
    assert found.numbers == {"epoch": 3} == whole_numbers(data)
    assert found.entries["cache"] == found.entries["images"] == 0
    assert "names" not in found.entries


def test_a_cache_is_seen_to_fill() -> None:
    data = Data()
    decoded.cache_clear()
    for index in range(10):
        _ = data[index]
        data.images[index :: PLACES // 4] = [1] * 16

    entries = holdings(data).entries

    assert entries["cache"] == entries["decoded"] == 10
    assert 0 < entries["images"] < len(data.images)


def test_a_dataset_that_raises_when_it_is_looked_at_holds_nothing() -> None:
    class Odd(Data):
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __len__(self) -> int:
            raise RuntimeError

    assert whole_numbers(Odd()) == {"epoch": 3}


def test_a_large_dataset_is_looked_at_in_part() -> None:
    class Wide(Data):
        def __init__(self) -> None:
            for number in range(10 * MOST_NODES):
                setattr(self, f"field{number}", number)

    assert len(whole_numbers(Wide())) <= MOST_NODES


def test_the_first_batches_of_each_epoch_are_looked_at_and_then_few() -> None:
    looking, data = Looking(0), Data()
    looks = []
    for batch in range(30):
        looking.begin(data)
        looking.saw([torch.tensor(number) for number in range(2 * MOST_PRINTS)])
        looks.append(looking.end(data, 2 * MOST_PRINTS))
        if batch == 20:
            looking.resumed()

    seen = [number for number, look in enumerate(looks) if look is not None]
    assert seen == [*range(FIRST), 16, *range(21, 21 + FIRST)]
    assert [len(look.prints) for look in looks if look] == [16] * 4 + [0] + [16] * 4
    assert looks[21] is not None
    assert looks[21].samples_before == 21 * 2 * MOST_PRINTS


def test_no_process_looks_more_often_than_that() -> None:
    looking, data = Looking(0), Data()
    looks = []
    for _ in range(2 * MOST_LOOKS):
        looking.resumed()
        looking.begin(data)
        looks.append(looking.end(data, 1))

    assert sum(look is not None for look in looks) == MOST_LOOKS


def test_a_look_names_what_the_batch_drew_from() -> None:
    looking, data = Looking(1), Data()

    looking.begin(data)
    data.transform.rng.random()
    look = looking.end(data, 1)

    assert look is not None
    assert look.drawn == ("transform.rng",)


def test_only_full_collections_are_timed() -> None:
    clock = FakeClock()
    garbage = Garbage(clock)

    for generation in (0, 1, 2):
        garbage("start", {"generation": generation})
        clock.advance(10)
        garbage("stop", {"generation": generation})

    assert (garbage.took_ns, garbage.runs) == (10, 1)


def test_the_collector_is_left_as_it_was() -> None:
    before = list(gc.callbacks)
    garbage = Garbage(FakeClock())

    garbage.listen()
    gc.collect()
    garbage.undo()
    garbage.undo()

    assert garbage.runs == 1
    assert gc.callbacks == before
