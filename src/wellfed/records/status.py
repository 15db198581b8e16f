"""How a loader that is running does just now: what the live view shows and exporters send."""

from wellfed.records._record import Record

__all__ = ["LoaderStatus", "TrainerStatus", "WorkerStatus"]


class WorkerStatus(Record, frozen=True, kw_only=True):
    """What one worker did lately."""

    worker: int
    """Which worker; -1: the trainer's own process."""
    last: int
    """The batch of its making that was delivered last, counted within the epoch from 0."""
    fetch_s: float
    """Mean seconds that it took to make a batch, or its part of one."""
    cpu_share: float | None = None
    """On-CPU time over wall time of that. Near 1: computing. Near 0: waiting, for storage say.
    None where it is not seen."""
    busy_share: float = 0.0
    """Share of the window in which it made batches. Near 1: it is never without work."""


class LoaderStatus(Record, frozen=True, kw_only=True):
    """What a loader did over the last seconds: its window."""

    site: str
    """File and line that built the loader; "" if that was not seen."""
    dataset: str
    """Class of its dataset."""
    backend: str
    """Who makes the batches, as in `Plan.backend`."""
    workers: int
    """Worker processes; 0: the trainer's own process makes them."""
    depth: int = 0
    """The most batches that can be in the making or waiting at once."""
    at_unix_s: float
    """When this was so, in seconds of the wall clock."""
    epoch: int
    """Which pass over the loader, from 0."""
    number: int
    """The batch delivered last, counted within the epoch from 0."""
    batches: int
    """Batches delivered over all epochs."""
    batches_per_epoch: int | None = None
    """Batches of a whole epoch; None until one has been seen."""
    window_s: float
    """Seconds that the figures below are of, about two; longer only where batches are."""
    window_batches: int
    """Batches that they are of."""
    batches_per_s: float
    """Batches delivered per second."""
    samples_per_s: float | None = None
    """Samples per second; None where the size of a batch is not known."""
    wait_share: float
    """Share of the window inside `__next__`, 0 to 1. Above 0.3: the step mostly waits."""
    wait_s: float
    """Mean seconds per batch inside `__next__`."""
    step_s: float
    """Mean seconds per batch outside it: the training step and the loop around it."""
    ready_share: float | None = None
    """Share of batches that were finished when they were asked for. Near 1: the loader is ahead.
    None without workers."""
    worker_status: tuple[WorkerStatus, ...] = ()
    """Each worker whose batches were delivered in the window."""
    memory_limit_bytes: int | None = None
    """Bytes that the loader may use; None if it has no limit of its own."""
    decisions: tuple[str, ...] = ()
    """What the loader last decided about its own settings, a sentence each, the newest last."""


class TrainerStatus(Record, frozen=True, kw_only=True):
    """One loader of one process, as its status file holds it."""

    pid: int
    start_ticks: int
    """When the process started, in ticks since boot: tells it from a later one of the same pid."""
    command: tuple[str, ...]
    """What the process was started with."""
    rank: str = ""
    """Its rank in a distributed run; "" outside one."""
    loader: LoaderStatus
