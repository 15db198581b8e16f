"""Torch's own samplers read in bulk: the same draws, from the same generators, at the same moments.

torch turns each permutation into a list of Python numbers and picks batches out of it one by
one. Here a batch is a view of the permutation. What may be observed stays as it is in torch: when
a generator is drawn from, how often, and how often the data source is asked for its length.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler, sampler

from wellfed._engine.torchs import is_its_own

__all__ = ["Indices", "Lookahead", "bulk"]

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
    both = (batch_sampler, order)
    if not all(is_its_own(one, "__iter__", sampler) for one in both):
        return None
    return _batches(batch_sampler)


def _batches(sampler: BatchSampler) -> Iterator[Indices]:
    runs = _runs(sampler.sampler)
    run: Indices = range(0)
    at = end = 0
    # As in torch: with drop_last the size is settled here, without it is read for each batch.
    size, drop_last = sampler.batch_size, sampler.drop_last
    while True:
        if not drop_last:
            size = sampler.batch_size
        if end - at < size:
            run = _continued(run[at:end], runs, size)
            at, end = 0, len(run)
        if end < size:
            break
        yield run[at : at + size]
        at += size
    if end and not drop_last:
        yield run


def _continued(rest: Indices, runs: Iterator[Indices], size: int) -> Indices:
    """What is left of a run and as many of the next as make a batch, if there are so many."""
    pieces = [rest] if len(rest) else []
    count = len(rest)
    while count < size and (more := next(runs, None)) is not None:
        pieces.append(more)
        count += len(more)
    return torch.cat(pieces) if len(pieces) > 1 else (pieces or [rest])[0]  # type: ignore[arg-type]


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
    left = order.num_samples % count
    # torch draws here even if nothing is left to yield, and the user's generator is to stand
    # where that leaves it. Nobody sees where one of our own stands.
    if left or order.generator is not None:
        yield torch.randperm(count, generator=generator)[:left]


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
