"""What is torch's own: its fetchers, and whether a method is still the one that torch wrote."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch.utils.data import dataloader

from wellfed.job import Job

__all__ = ["fetch_of", "fetcher_of", "is_its_own"]


def fetcher_of(job: Job) -> Any:
    """The fetcher that torch would use; asks an iterable to begin."""
    # Looked up late: other libraries put fetchers of their own there.
    kinds: Any = dataloader._DatasetKind
    kind = kinds.Iterable if job.iterable else kinds.Map
    return kinds.create_fetcher(kind, job.dataset, job.batched, job.collate, job.drop_last)


def fetch_of(job: Job) -> Callable[[Any], Any]:
    """The function from indices to a batch that torch would use; asks an iterable to begin."""
    return fetcher_of(job).fetch  # type: ignore[no-any-return]


def is_its_own(thing: Any, method: str, module: ModuleType) -> bool:
    """Whether a method is the one that this module gave its class: nobody replaced it."""
    found = getattr(type(thing), method, None)
    return method not in vars(thing) and getattr(found, "__globals__", None) is vars(module)
