"""Torch's own samplers read in bulk: the same draws, from the same generators, at the same moments.

torch turns each permutation into a list of Python numbers and picks batches out of it one by
one. Here a batch is a view of the permutation. What may be observed stays as it is in torch: when
a generator is drawn from, how often, and how often the data source is asked for its length.
"""

from collections import deque
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler, sampler

__all__ = ["Indices", "Lookahead", "bulk", "is_its_own"]

Indices = Tensor | range
"""The indices of one batch: a tensor of one dimension and dtype int64, or a range of step 1."""

# How many indices RandomSampler draws at once when it draws with replacement.
DRAWN_AT_ONCE = 32


def bulk(batch_sampler: Any) -> Iterator[Indices] | None:
    """The batches that torch's sampler would yield; nothing is drawn before the first is asked for.

    Returns:
        None unless it is exactly torch's BatchSampler over exactly its SequentialSampler or
        RandomSampler. The tensors share memory: they are to be read only.
    """
    if type(batch_sampler) is not BatchSampler:
        return None
    order = batch_sampler.sampler
    if type(order) not in (SequentialSampler, RandomSampler):
        return None
    if not is_its_own(batch_sampler, "__iter__", sampler) or not is_its_own(
        order, "__iter__", sampler
    ):
        return None
    return _batches(batch_sampler)


def is_its_own(thing: Any, method: str, module: ModuleType) -> bool:
    """Whether a method is still the one that its class has in this module: nobody replaced it."""
    found = getattr(type(thing), method, None)
    return method not in vars(thing) and getattr(found, "__globals__", None) is vars(module)


def _batches(sampler: BatchSampler) -> Iterator[Indices]:
    runs = _runs(sampler.sampler)
    run: Indices = range(0)
    at = end = 0
    # As in torch: with drop_last the size is settled here, without it is read for each batch.
    size, drop_last = sampler.batch_size, sampler.drop_last
    while True:
        if not drop_last:
            size = sampler.batch_size
        while end - at < size:
            more = next(runs, None)
            if more is None:
                if at < end and not drop_last:
                    yield run[at:end]
                return
            run = _joined(run[at:end], more) if at < end else more
            at, end = 0, len(run)
        yield run[at : at + size]
        at += size


def _runs(order: Any) -> Iterator[Indices]:
    """All that a sampler yields, in the pieces in which it draws it."""
    count = len(order.data_source)
    if type(order) is SequentialSampler:
        yield range(count)
        return
    generator = order.generator
    if generator is None:
        seed = int(torch.empty((), dtype=torch.int64).random_().item())
        generator = torch.Generator()
        generator.manual_seed(seed)
    if order.replacement:
        for _ in range(order.num_samples // DRAWN_AT_ONCE):
            yield torch.randint(count, (DRAWN_AT_ONCE,), generator=generator)
        yield torch.randint(count, (order.num_samples % DRAWN_AT_ONCE,), generator=generator)
        return
    for _ in range(order.num_samples // count):
        yield torch.randperm(count, generator=generator)
    # Drawn also where none of it is wanted: the generator is to stand where torch leaves it.
    yield torch.randperm(count, generator=generator)[: order.num_samples % count]


def _joined(one: Indices, other: Indices) -> Tensor:
    return torch.cat([torch.as_tensor(one), torch.as_tensor(other)])


class Lookahead:
    """Reads index batches when torch's loader with workers would read them.

    That is `depth` of them (prefetch × workers) when the epoch begins, and one more for each
    batch, before it is delivered. If the sampler raises then, that batch is lost, as in torch.
    """

    def __init__(self, indices: Iterator[Any], depth: int) -> None:
        self._indices = indices
        self._waiting: deque[Any] = deque()
        for _ in range(depth):
            self._read()

    def __iter__(self) -> "Lookahead":
        return self

    def __next__(self) -> Any:
        if not self._waiting:
            raise StopIteration
        first = self._waiting.popleft()
        self._read()
        return first

    def _read(self) -> None:
        # Asked again after its end, as torch asks it.
        try:
            self._waiting.append(next(self._indices))
        except StopIteration:
            return
