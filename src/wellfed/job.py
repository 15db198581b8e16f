"""What is loaded: dataset, order, batching, collate. Tuning never changes any of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wellfed._limits import Limits

__all__ = ["Job"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is loaded, as the live objects of the user's script. Never how: that is the Plan."""

    dataset: Any
    """The user's dataset, map-style or iterable."""

    batch_sampler: Any = None
    """Yields lists of indices; None with automatic batching off."""

    sampler: Any = None
    """Yields single indices."""

    batch_size: int | None = None
    drop_last: bool = False
    collate: Callable[[Any], Any] | None = None
    """Turns samples into a batch; with automatic batching off, is given each sample."""

    iterable: bool = False
    """Whether the dataset is an IterableDataset."""

    workers: int = 0
    """Logical workers: torch's `num_workers`. Batch k draws from the random streams of logical
    worker k mod `workers`, whatever processes the plan uses; with 0, from the trainer's own."""

    base_seed: int = 0
    """What torch drew for this iterator: logical worker w is seeded with `base_seed + w`."""

    by_position: bool = False
    """Whether random draws depend on (seed, epoch, position in the epoch) alone, and not on a
    worker's stream: `num_workers="auto"`."""

    worker_init: Callable[[int], None] | None = None
    """Called once in each logical worker with its number, after seeding."""

    timeout_s: float = 0.0
    """How long a batch may take before an error is raised; 0: for ever."""

    context: Any = None
    """The multiprocessing context that the user chose; None for the platform's default."""

    thread_safe: bool = False
    """The user's consent that samples may be fetched by several threads at once."""

    watched: bool = False
    """Whether somebody observes this loader: then what each batch took is noted closely."""

    limits: Limits | None = None
    """What it may take of the machine; None where nobody keeps to any."""

    @property
    def batched(self) -> bool:
        """Whether an index stands for several samples, and `collate` joins them."""
        return self.batch_sampler is not None
