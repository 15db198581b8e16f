"""What is loaded: dataset, order, batching, collate. Tuning never changes any of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from wellfed._limits import Limits

__all__ = ["BEGINNING", "Job", "Start"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where in a pass the first batch is, of a pass that is taken up. What came before is not
    made; the indices of a stream begin with that of the first batch.
    """

    epoch: int = 0
    """How often the iterator was begun before."""
    number: int = 0
    """Of the batch in its epoch."""
    position: int = 0
    """Of its first sample in the epoch."""
    turn: int = 0
    """The logical worker that makes it."""
    beyond: frozenset[int] = frozenset()
    """Numbers of later batches that were delivered before it."""
    streams: dict[int, bytes] = field(default_factory=dict)
    """Where the random streams of logical workers go on, packed; those that are missing begin."""
    held: dict[int, Any] = field(default_factory=dict)
    """What the datasets of logical workers said of themselves."""


BEGINNING = Start()


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

    start: Start = BEGINNING
    """Where its first batch is."""

    asks_dataset_every: int = 0
    """With each how manyth of its batches a worker asks its dataset for its state; 0: never."""
    limits: Limits | None = None
    """What it may take of the machine; None where nobody keeps to any."""
    died: Callable[[str], None] = lambda _sentence: None
    """Told of each worker process that died and was replaced."""

    @property
    def batched(self) -> bool:
        """Whether an index stands for several samples, and `collate` joins them."""
        return self.batch_sampler is not None
