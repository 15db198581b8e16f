"""Torch's own fetchers: how a batch is made of its indices where nothing faster is sure."""

from collections.abc import Callable
from typing import Any

from torch.utils.data import dataloader

from wellfed.job import Job

__all__ = ["fetch_of"]


def fetch_of(job: Job) -> Callable[[Any], Any]:
    """The function from indices to a batch that torch would use; asks an iterable to begin."""
    # Looked up late: other libraries put fetchers of their own there.
    kinds: Any = dataloader._DatasetKind
    kind = kinds.Iterable if job.iterable else kinds.Map
    fetcher = kinds.create_fetcher(kind, job.dataset, job.batched, job.collate, job.drop_last)
    return fetcher.fetch  # type: ignore[no-any-return]
