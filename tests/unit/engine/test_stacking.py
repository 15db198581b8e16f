"""Samples that are copied into their batch one by one make the batch that torch makes of them."""

from collections.abc import Callable
from typing import Any
from weakref import finalize

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import default_collate
from torch.utils.data._utils.collate import default_collate_fn_map

from describing import describe
from wellfed._engine import stacking
from wellfed._engine.board import Board
from wellfed._engine.fetching import MapFetcher

SIDE = 40  # of a square of floats: 6,400 bytes


@pytest.fixture(autouse=True)
def _small_ones_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacking, "LEAST_BYTES", 4_096)


def square(value: float, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.full((SIDE, SIDE), value, dtype=dtype)


class Made:
    """Sample i is what `make` makes of i."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


def fetcher(make: Callable[[int], Any], collate: Any = default_collate) -> MapFetcher:
    board = Board()
    board.close()
    return MapFetcher(Made(make), collate, board.page, batched=True)


def outcome(of: MapFetcher, index: list[int]) -> Any:
    """The batch, or the error that there was instead."""
    try:
        return describe(of.fetch(index))
    except Exception as error:
        return type(error), str(error)


def at_the_end(make: Callable[[int], Any], index: list[int]) -> Any:
    torchs = fetcher(make)
    torchs._stacking.on = False
    return outcome(torchs, index)


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> list[stacking.Stack]:
    """Those that were begun."""
    seen = []
    begun = stacking.Stacking.begun

    def noted(self: Any, samples: Any, count: int) -> Any:
        stack = begun(self, samples, count)
        if stack is not None:
            seen.append(stack)
        return stack

    monkeypatch.setattr(stacking.Stacking, "begun", noted)
    return seen


SAMPLES: dict[str, Callable[[int], Any]] = {
    "tensors": square,
    "bytes": lambda i: torch.full((80, 80), i, dtype=torch.uint8),
    "complex numbers": lambda i: square(i, torch.complex64),
    "tensor and label": lambda i: (square(i), i),
    "tensor, label and name": lambda i: [square(i), torch.tensor(i), f"sample {i}"],
    "two tensors": lambda i: (square(i), square(-i, torch.float64)),
    "by name": lambda i: {"image": square(i), "size": (i, i), None: square(i)},
    "arrays": lambda i: np.full((SIDE, SIDE), i, np.float32),
    "array and label": lambda i: (np.full((SIDE, SIDE), i), i),
}


@pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES)
def test_a_batch_is_what_torch_makes_of_its_samples(
    make: Callable[[int], Any], stacks: list[stacking.Stack]
) -> None:
    of = fetcher(make)

    for index in ([3, 1, 4, 1], [5], [9, 2]):
        assert outcome(of, index) == at_the_end(make, index)
    assert of._stacking.on
    assert len(stacks) == 2


class Labelled(Tensor):
    """A subclass is collated in its own way."""


NOT_EARLY: dict[str, Callable[[int], Any]] = {
    "small tensors": lambda i: torch.full((10,), i),
    "numbers": lambda i: i,
    "a subclass": lambda i: square(i).as_subclass(Labelled),
    "with gradients": lambda i: square(i).requires_grad_(),
    "not contiguous": lambda i: square(i).T,
    "conjugate": lambda i: square(i, torch.complex64).conj(),
    "sparse": lambda i: square(i).to_sparse(),
    "memory of an array": lambda i: torch.from_numpy(np.full((SIDE, SIDE), i)),
    "part of an array": lambda i: np.full((SIDE + 1, SIDE), i)[1:],
    "arrays in another byte order": lambda i: np.full((SIDE, SIDE), i, ">f4"),
    "arrays of strings": lambda i: np.full((SIDE, SIDE), str(i)),
    "part of a larger tensor": lambda i: square(i)[: SIDE - 2],
    "deeper down": lambda i: ((square(i), i), i),
}


@pytest.mark.parametrize("make", NOT_EARLY.values(), ids=NOT_EARLY)
def test_other_samples_are_left_to_torch(
    make: Callable[[int], Any], stacks: list[stacking.Stack]
) -> None:
    assert outcome(fetcher(make), [0, 1, 2]) == at_the_end(make, [0, 1, 2])
    assert stacks == []


def at(place: int, odd: Callable[[int], Any], others: Callable[[int], Any]) -> Any:
    return lambda i: odd(i) if i == place else others(i)


def pair(i: int) -> Any:
    return square(i), i


def named(i: int) -> Any:
    return {"image": square(i), "label": i}


ODD: dict[str, Callable[[int], Any]] = {
    "another shape": at(2, lambda i: torch.zeros(SIDE, SIDE + 1), square),
    "another dtype": at(2, lambda i: square(i, torch.float64), square),
    "no tensor": at(2, lambda i: None, square),
    "an array": at(2, lambda i: np.full((SIDE, SIDE), i, np.float32), square),
    "not contiguous": at(2, lambda i: square(i).T, square),
    "fewer members": at(2, lambda i: (square(i),), pair),
    "another kind of container": at(2, lambda i: [square(i), i], pair),
    "another label": at(2, lambda i: (square(i), "two"), pair),
    "a missing name": at(2, lambda i: {"label": i}, named),
    "another name": at(2, lambda i: {"picture": square(i), "label": i}, named),
    "an error": at(2, lambda i: 1 / 0, square),
}


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_one_that_differs_comes_to_what_it_comes_to_in_torch(make: Callable[[int], Any]) -> None:
    assert outcome(fetcher(make), [0, 1, 2, 3]) == at_the_end(make, [0, 1, 2, 3])
    assert outcome(fetcher(make), [3, 4]) == at_the_end(make, [3, 4])


class Reusing:
    """Keeps what it has given, and may write to it again."""

    def __init__(self, how: str) -> None:
        self.how = how
        self.buffer = square(0)
        self.array = np.zeros((SIDE, SIDE), np.float32)
        self.kept: list[Any] = []

    def __call__(self, index: int) -> Any:
        if self.how == "the same tensor":
            return self.buffer.fill_(index)
        if self.how == "a view of the same tensor":
            return self.buffer.fill_(index)[:-1]
        if self.how == "the same array":
            self.array.fill(index)
            return self.array, index
        if self.how == "the memory of the same array":
            self.array.fill(index)
            return torch.from_numpy(self.array)
        for one in self.kept:
            one += 1
        self.kept.append(
            square(index) if self.how == "tensors that it keeps" else square(index).numpy()
        )
        return self.kept[-1]


@pytest.mark.parametrize(
    "how",
    [
        "the same tensor",
        "a view of the same tensor",
        "the same array",
        "the memory of the same array",
        "tensors that it keeps",
        "arrays that it keeps",
    ],
)
def test_what_the_dataset_writes_to_again_is_read_at_the_end_as_in_torch(how: str) -> None:
    index = [1, 2, 3, 4]
    of = fetcher(Reusing(how))

    assert outcome(of, index) == at_the_end(Reusing(how), index)


def test_after_a_sample_that_stays_alive_none_is_copied_early(stacks: list[Any]) -> None:
    of = fetcher(Reusing("tensors that it keeps"))
    of.fetch([1, 2])
    of.fetch([3, 4])

    assert len(stacks) == 1


def test_one_large_sample_is_held_at_a_time() -> None:
    alive = 0
    most = 0

    def make(index: int) -> Tensor:
        nonlocal alive, most

        def died() -> None:
            nonlocal alive
            alive -= 1

        made = square(index)
        finalize(made, died)
        alive += 1
        most = max(most, alive)
        return made

    fetcher(make).fetch([0, 1, 2, 3, 4, 5])

    assert most == 1


def test_another_collate_function_is_given_the_samples() -> None:
    batch = fetcher(square, collate=list).fetch([1, 2])

    assert [float(one[0, 0]) for one in batch] == [1.0, 2.0]


@pytest.mark.parametrize("kind", [tuple, Tensor])
def test_a_way_of_the_users_to_collate_a_type_is_kept(
    kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted(batch: Any, *, collate_fn_map: Any = None) -> Any:
        return len(batch), type(batch[0])

    monkeypatch.setitem(default_collate_fn_map, kind, counted)

    batch = fetcher(pair).fetch([1, 2])

    assert batch == (2, tuple) if kind is tuple else batch[0] == (2, Tensor)
