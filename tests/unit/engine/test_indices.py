"""Torch's samplers, read in bulk: equal indices, and equal draws at equal moments."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch
from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler, WeightedRandomSampler

from wellfed._engine.indices import Lookahead, bulk

END = "end"


def trail(batches: Iterator[Any], generator: torch.Generator | None) -> list[Any]:
    """After each `next`: what came, and where the global and the user's generator stand."""
    steps = []
    while True:
        try:
            batch: Any = [int(index) for index in next(batches)]
        except StopIteration:
            batch = END
        own = generator.get_state().tolist() if generator is not None else None
        steps.append((batch, torch.get_rng_state().tolist(), own))
        if batch == END:
            return steps


def both(make: Any, seeded: bool) -> tuple[list[Any], list[Any]]:
    """Torch's trail of two epochs, and ours."""
    trails = []
    for read in (iter, bulk):
        torch.manual_seed(1)
        generator = torch.Generator().manual_seed(2) if seeded else None
        sampler = make(generator)
        epochs: list[Any] = [read(sampler), read(sampler)]
        trails.append([step for batches in epochs for step in trail(batches, generator)])
    return trails[0], trails[1]


@pytest.mark.parametrize("seeded", [False, True])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("size", [1, 3, 4, 12, 50])
@pytest.mark.parametrize("samples", [None, 5, 12, 30])
@pytest.mark.parametrize("replacement", [False, True])
def test_draws_what_a_random_sampler_draws_when_it_draws_it(
    seeded: bool, drop_last: bool, size: int, samples: int | None, replacement: bool
) -> None:
    torchs, ours = both(
        lambda generator: BatchSampler(
            RandomSampler(range(12), replacement, samples, generator), size, drop_last
        ),
        seeded,
    )

    assert ours == torchs


def test_draws_with_replacement_in_torchs_portions() -> None:
    torchs, ours = both(
        lambda generator: BatchSampler(RandomSampler(range(5), True, 100, generator), 40, False),
        seeded=True,
    )

    assert ours == torchs


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("length", [0, 1, 11, 12])
def test_counts_as_a_sequential_sampler_does(drop_last: bool, length: int) -> None:
    torchs, ours = both(
        lambda _: BatchSampler(SequentialSampler(range(length)), 4, drop_last), seeded=False
    )

    assert ours == torchs


def test_nothing_is_drawn_before_the_first_batch_is_asked_for() -> None:
    generator = torch.Generator().manual_seed(2)
    before = generator.get_state()

    batches = bulk(BatchSampler(RandomSampler(range(12), generator=generator), 4, False))

    assert batches is not None
    assert torch.equal(generator.get_state(), before)


class Growing:
    """A data source that has one sample more each time it is asked."""

    def __init__(self) -> None:
        self.length = 10

    def __len__(self) -> int:
        self.length += 1
        return self.length


@pytest.mark.parametrize("kind", [RandomSampler, SequentialSampler])
def test_the_length_is_asked_for_as_often_as_by_torch(kind: Any) -> None:
    torchs, ours = both(lambda _: BatchSampler(kind(Growing()), 4, False), seeded=False)

    assert ours == torchs


def test_an_emptied_data_source_fails_as_in_torch() -> None:
    source = [1, 2, 3]
    sampler = BatchSampler(RandomSampler(source), 2, False)
    source.clear()
    states = []
    for read in (iter, bulk):
        torch.manual_seed(1)
        batches: Any = read(sampler)
        with pytest.raises(ZeroDivisionError):
            next(batches)
        states.append(torch.get_rng_state().tolist())

    assert states[0] == states[1]


@pytest.mark.parametrize("drop_last", [False, True])
def test_a_batch_size_changed_midway_counts_as_in_torch(drop_last: bool) -> None:
    seen = []
    for read in (iter, bulk):
        sampler = BatchSampler(SequentialSampler(range(12)), 2, drop_last)
        batches: Any = read(sampler)
        first = list(next(batches))
        sampler.batch_size = 3
        seen.append([first, *map(list, batches)])

    assert seen[0] == seen[1]


class OtherOrder(RandomSampler):
    def __iter__(self) -> Iterator[int]:
        return iter(range(3))


class OtherBatches(BatchSampler):
    pass


@pytest.mark.parametrize(
    "sampler",
    [
        None,
        [[1, 2], [3]],
        BatchSampler(OtherOrder(range(3)), 2, False),
        OtherBatches(SequentialSampler(range(3)), 2, False),
        BatchSampler(WeightedRandomSampler([1.0, 2.0], 2), 2, False),
        BatchSampler([0, 1, 2], 2, False),
    ],
)
def test_other_samplers_are_left_alone(sampler: Any) -> None:
    assert bulk(sampler) is None


def test_a_sampler_whose_class_was_patched_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SequentialSampler, "__iter__", lambda self: iter([0]))

    assert bulk(BatchSampler(SequentialSampler(range(3)), 2, False)) is None


# -- reading ahead


def noting(count: int, read: list[int]) -> Iterator[int]:
    for number in range(count):
        read.append(number)
        yield number


def test_reads_ahead_when_the_epoch_begins_and_one_more_for_each_batch() -> None:
    read: list[int] = []

    ahead = Lookahead(noting(6, read), depth=3)
    counts = [len(read), *(len(read) for _ in ahead)]

    assert counts == [3, 4, 5, 6, 6, 6, 6]


def test_a_short_epoch_ends_while_reading_ahead() -> None:
    assert list(Lookahead(noting(2, []), depth=5)) == [0, 1]


def test_a_batch_is_lost_where_the_sampler_raises_as_in_torch() -> None:
    def failing() -> Iterator[int]:
        yield from range(3)
        raise LookupError("no more of these")

    ahead = Lookahead(failing(), depth=2)
    taken = list(islice(ahead, 1))
    with pytest.raises(LookupError, match="no more of these"):
        next(ahead)

    assert [*taken, *ahead] == [0, 2]
