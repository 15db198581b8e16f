"""Short trials on data whose fetching is known to be harmless: tensors in memory.

Nothing is drawn from a global generator: the indices come from one made here.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from wellfed.job import Job
from wellfed.records import Fact

__all__ = ["fetch_rows", "time_inline"]

# Interleaved rounds of each of the two ways: medians over 40 settle within a few per cent, and
# the whole trial takes at most MOST_S.
ROUNDS = 40
MOST_S = 1.0


def time_inline(job: Job | None) -> tuple[Fact[float], Fact[float]]:
    """Seconds to make one batch in this process, sample by sample, and by rows at once.

    Both include collating; the median of up to 40 interleaved trials each, one second in all.
    """
    if job is None or not job.batch_size or not len(job.dataset):
        none = Fact[float](how="none: only tensors in memory may be fetched a second time")
        return none, none
    try:
        by_sample, by_rows = _race(job)
    except Exception as error:
        failed = Fact[float](how=f"the trial failed: {error!r}")
        return failed, failed
    how = f"median of {len(by_sample)} trials after the run, without workers"
    return Fact(value=_median(by_sample), how=how), Fact(value=_median(by_rows), how=how)


def _race(job: Job) -> tuple[list[int], list[int]]:
    generator = torch.Generator().manual_seed(0)
    size = min(int(job.batch_size or 1), len(job.dataset))
    collate = job.collate or torch.utils.data.default_collate
    by_sample: list[int] = []
    by_rows: list[int] = []
    deadline = time.perf_counter() + MOST_S
    while len(by_sample) < ROUNDS and (len(by_sample) < 5 or time.perf_counter() < deadline):
        indices = torch.randint(len(job.dataset), (size,), generator=generator).tolist()
        by_sample.append(_timed(lambda i=indices: collate([job.dataset[k] for k in i])))  # type: ignore[misc]
        by_rows.append(_timed(lambda i=indices: fetch_rows(job.dataset, i)))  # type: ignore[misc]
    return by_sample, by_rows


def fetch_rows(dataset: Any, indices: Sequence[int]) -> list[torch.Tensor]:
    """One batch of a TensorDataset (or a Subset or ConcatDataset of such) by rows.

    Returns:
        A list of one tensor of shape (len(indices), ...) per tensor of the dataset, equal to what
        torch's default collate makes of the samples one by one.
    """
    if isinstance(dataset, Subset):
        return fetch_rows(dataset.dataset, [dataset.indices[i] for i in indices])
    if isinstance(dataset, ConcatDataset):
        return _fetch_concatenated(dataset, indices)
    assert isinstance(dataset, TensorDataset)
    rows = torch.as_tensor(indices)
    return [tensor.index_select(0, rows) for tensor in dataset.tensors]


def _fetch_concatenated(dataset: Any, indices: Sequence[int]) -> list[torch.Tensor]:
    ends = torch.as_tensor(dataset.cumulative_sizes)
    rows = torch.as_tensor(indices)
    parts = torch.searchsorted(ends, rows, right=True)
    out: list[torch.Tensor] = []
    for part in sorted(set(parts.tolist())):
        places = (parts == part).nonzero().flatten()
        start = int(ends[part - 1]) if part else 0
        fetched = fetch_rows(dataset.datasets[part], (rows[places] - start).tolist())
        if not out:
            out = [one.new_empty((len(indices), *one.shape[1:])) for one in fetched]
        for target, one in zip(out, fetched, strict=True):
            target[places] = one
    return out


def _timed(make: Callable[[], object]) -> int:
    began = time.perf_counter_ns()
    make()
    return time.perf_counter_ns() - began


def _median(values_ns: list[int]) -> float:
    return sorted(values_ns)[len(values_ns) // 2] / 1e9
