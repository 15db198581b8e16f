"""Whatever the tensors, the sampler and the generator: inline batches and draws are torch's."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    TensorDataset,
)

from wellfed._engine.indices import bulk
from wellfed._engine.inline import Inline
from wellfed._engine.randomness import states
from wellfed._engine.reading import read_job
from wellfed.records import Plan

DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.complex64,
    torch.int64,
    torch.uint8,
    torch.uint16,
    torch.bool,
)
LISTS = (list, tuple, torch.tensor, np.array)


@st.composite
def values(draw: st.DrawFn, rows: int) -> torch.Tensor:
    """A tensor of so many rows: any dtype, any order of its dimensions in memory, some expanded."""
    shape = [rows, *draw(st.lists(st.integers(0, 3), max_size=4))]
    order = draw(st.permutations(range(len(shape))))
    dtype = draw(st.sampled_from(DTYPES))
    count = int(np.prod(shape)) * dtype.itemsize
    stored = torch.arange(count).to(torch.uint8)
    stored = (stored % 2 if dtype is torch.bool else stored).view(dtype)
    tensor = stored.reshape([shape[place] for place in order]).permute(*np.argsort(order).tolist())
    if rows and draw(st.integers(0, 9)) == 0:
        tensor = tensor[:1].expand(shape)
    return tensor


@st.composite
def datasets(draw: st.DrawFn, deep: int = 2) -> Any:
    """Tensors, a part of a dataset, or datasets one after another."""
    kind = draw(st.sampled_from(("tensors", "part", "whole") if deep else ("tensors",)))
    if kind == "tensors":
        rows = draw(st.integers(0, 40))
        return TensorDataset(*draw(st.lists(values(rows), min_size=1, max_size=3)))
    if kind == "whole":
        first = draw(datasets(deep - 1))
        others = [first] * draw(st.integers(0, 2))
        if draw(st.booleans()):
            others.append(draw(datasets(deep - 1)))
        return ConcatDataset([first, *others])
    below = draw(datasets(deep - 1))
    length = len(below)
    if draw(st.booleans()):
        return Subset(below, range(*sorted(draw(st.tuples(*[st.integers(0, length)] * 2)))))
    # Now and then one that is not there: an error, or a place counted from the end.
    picks = draw(st.lists(st.integers(-1 - length // 8, length - (length > 3)), max_size=30))
    return Subset(below, draw(st.sampled_from(LISTS))(picks))


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way of loading, which can be set up twice."""

    dataset: Any
    shuffle: bool
    replacement: bool
    samples: int | None
    seeded: bool
    size: int
    drop_last: bool

    def loader(self) -> DataLoader[Any]:
        generator = torch.Generator().manual_seed(4) if self.seeded else None
        order: Any = SequentialSampler(self.dataset)
        if self.shuffle and len(self.dataset):
            order = RandomSampler(self.dataset, self.replacement, self.samples, generator)
        sampler = BatchSampler(order, self.size, self.drop_last)
        return DataLoader(self.dataset, batch_sampler=sampler, generator=generator)


CASES = st.builds(
    Case,
    dataset=datasets(),
    shuffle=st.booleans(),
    replacement=st.booleans(),
    samples=st.none() | st.integers(1, 90),
    seeded=st.booleans(),
    size=st.integers(1, 40),
    drop_last=st.booleans(),
)


def plain(batch: Any) -> Any:
    """All that can be seen of a batch."""
    if isinstance(batch, list):
        return [plain(part) for part in batch]
    stored = batch.untyped_storage()
    seen = (type(batch), batch.dtype, batch.shape, batch.stride(), batch.storage_offset())
    return (*seen, stored.nbytes(), bytes(stored.tolist()))


def standing(generator: torch.Generator | None) -> Any:
    """Where all random generators stand, in a form that can be compared."""
    python, numpy, torchs = states()
    own = generator.get_state().tolist() if generator is not None else None
    return python, numpy, torchs.tolist(), own


def trail(batches: Iterator[Any], generator: torch.Generator | None) -> list[Any]:
    """What each `next` gave or raised, and the state in which it left the random generators."""
    seen: list[Any] = []
    while True:
        try:
            step = plain(next(batches))
        except StopIteration:
            return [*seen, ("end", standing(generator))]
        except Exception as error:
            step = (type(error), str(error))
        seen.append((step, standing(generator)))


def ours(loader: Any) -> Iterator[Any]:
    """An epoch as torch begins it: the base seed first."""
    torch.empty((), dtype=torch.int64).random_(generator=loader.generator)
    indices = bulk(loader.batch_sampler)
    assert indices is not None
    return iter(Inline().open(read_job(loader), Plan(backend="inline"), indices))


def two_epochs(case: Case, begin: Any) -> list[Any]:
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    loader = case.loader()
    return list(chain(*(trail(begin(loader), loader.generator) for _ in range(2))))


@given(CASES)
def test_inline_batches_errors_and_draws_are_torchs(case: Case) -> None:
    assert two_epochs(case, ours) == two_epochs(case, iter)


# -- with logical workers: nothing of the user's runs in them, so inline serves them


class Failing(Sampler[list[int]]):
    """Names a sample that is not there in its first batch, and raises in place of its fourth."""

    def __iter__(self) -> Iterator[list[int]]:
        yield from ([0, 99], [2, 3], [4, 5])
        raise LookupError("no fourth batch")

    def __len__(self) -> int:
        return 4


def batch_sampler(kind: str, generator: torch.Generator | None) -> Any:
    if kind == "failing":
        return Failing()
    return BatchSampler(RandomSampler(range(20), generator=generator), 3, kind == "drop_last")


def with_workers(kind: str, seeded: bool, prefetch: int) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(4) if seeded else None
    return DataLoader(
        TensorDataset(torch.arange(40.0).reshape(20, 2), torch.arange(20)),
        batch_sampler=batch_sampler(kind, generator),
        generator=generator,
        num_workers=2,
        prefetch_factor=prefetch,
        multiprocessing_context="fork",
    )


def ours_ahead(loader: Any) -> Iterator[Any]:
    torch.empty((), dtype=torch.int64).random_(generator=loader.generator)
    indices = bulk(loader.batch_sampler) or iter(loader.batch_sampler)
    job, plan = read_job(loader), Plan(backend="inline", prefetch=loader.prefetch_factor)
    assert Inline().refuses(job, plan) is None
    return iter(Inline().open(job, plan, indices))


def first_and_last_line(step: Any) -> Any:
    """An error without its traceback, in which the files differ."""
    seen, generators = step
    if isinstance(seen[0], type) and issubclass(seen[0], Exception):
        lines = seen[1].splitlines()
        return seen[0], lines[0], lines[-1], generators
    return step


def epoch_with_workers(loader: DataLoader[Any], begin: Any) -> list[Any]:
    """The trail of one epoch, which starts with where the generators stand once it has begun."""
    torch.manual_seed(3)
    batches = begin(loader)
    begun = standing(loader.generator)
    try:
        return [begun, *map(first_and_last_line, trail(batches, loader.generator))]
    finally:
        if begin is iter:
            batches._shutdown_workers()


@pytest.mark.parametrize("seeded", [False, True])
@pytest.mark.parametrize(
    ("kind", "prefetch"),
    [("whole", 1), ("whole", 3), ("drop_last", 1), ("drop_last", 3), ("failing", 1)],
)
def test_with_workers_the_sampler_is_read_when_torch_reads_it(
    kind: str, seeded: bool, prefetch: int
) -> None:
    def epoch(begin: Any) -> list[Any]:
        return epoch_with_workers(with_workers(kind, seeded, prefetch), begin)

    assert epoch(ours_ahead) == epoch(iter)
