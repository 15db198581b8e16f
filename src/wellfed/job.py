"""What is loaded: dataset, order, batching, collate. Tuning never changes any of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Job"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is loaded, as the live objects of the user's script. Never how: that is the Plan."""

    dataset: Any
    """The user's dataset, map-style or iterable."""

    batch_sampler: Any = None
    """Yields lists of indices; None for an iterable dataset or with automatic batching off."""

    sampler: Any = None
    """Yields single indices."""

    batch_size: int | None = None
    drop_last: bool = False
    collate: Callable[[Any], Any] | None = None
    """Turns samples into a batch."""

    iterable: bool = False
    """Whether the dataset is an IterableDataset."""
