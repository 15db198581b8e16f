"""Datasets of tensors, and both ways to make batches of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset, TensorDataset, default_collate
from torch.utils.data._utils.fetch import _MapDatasetFetcher

from wellfed._engine.rows import rows_of
from wellfed.job import Job

ROWS = 12


def job_of(dataset: Any, **changes: Any) -> Job:
    given = {"dataset": dataset, "batch_sampler": [[0]], "collate": default_collate}
    return Job(**{**given, **changes})


def torchs(dataset: Any) -> Callable[[Any], Any]:
    fetcher: Any = _MapDatasetFetcher
    return fetcher(dataset, True, default_collate, False).fetch  # type: ignore[no-any-return]


def ours(dataset: Any) -> Callable[[Any], Any]:
    made = rows_of(job_of(dataset))
    assert made is not None
    return made


def numbers(*shape: int) -> Tensor:
    return torch.arange(int(np.prod(shape)), dtype=torch.float32).reshape(shape)


def pair() -> TensorDataset:
    return TensorDataset(numbers(ROWS, 3), torch.arange(ROWS))


PARTS: dict[str, Callable[[], Any]] = {
    "of a list": lambda: Subset(pair(), [3, 1, 4, 1, 5, 9, 2, 6]),
    "of a tuple": lambda: Subset(pair(), (3, 1, 4, 1, 5, 9, 2, 6)),
    "of a range": lambda: Subset(pair(), range(2, 12)),
    "of a range with steps": lambda: Subset(pair(), range(11, 0, -1)),
    "of a tensor": lambda: Subset(pair(), torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])),  # type: ignore[arg-type]
    "of an array": lambda: Subset(pair(), np.array([3, 1, 4, 1, 5, 9, 2, 6])),  # type: ignore[arg-type]
    "of a part": lambda: Subset(Subset(pair(), range(1, 12)), [0, 2, 4, 6, 8, 9, 10, 1]),
    "of one": lambda: ConcatDataset([pair()]),
    "of two": lambda: ConcatDataset([pair(), pair()]),
    "of uneven ones": lambda: ConcatDataset([Subset(pair(), [4]), Subset(pair(), []), pair()]),
    "of parts of wholes": lambda: Subset(
        ConcatDataset([pair(), ConcatDataset([pair(), Subset(pair(), [3, 1])])]),
        [25, 0, 12, 13, 24, 11, 1, 2],
    ),
}
