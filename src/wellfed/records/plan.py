"""How batches are made: all that tuning may change, and nothing that would change the batches."""

from wellfed.records._record import Record

__all__ = ["Plan"]


class Plan(Record, frozen=True, kw_only=True):
    """How batches are made. Never which batches: that is the Job."""

    backend: str = "torch"
    """Who makes the batches: "inline", in the trainer's process; "processes", worker processes;
    "torch", torch's own iterator, as found in an unmodified script."""

    workers: int = 0
    """Worker processes; 0 means that the trainer's own process makes each batch when asked."""

    prefetch: int | None = None
    """Batches in the making per worker (torch's `prefetch_factor`); None without workers."""

    pin_memory: bool = False
    """Whether batches are copied to page-locked memory before they are handed over."""

    persistent: bool = False
    """Whether workers outlive the epoch (torch's `persistent_workers`)."""

    in_order: bool = True
    """Whether batch k is delivered before batch k+1. False changes the order of the batches."""

    start_method: str | None = None
    """How workers start: "fork", "spawn" or "forkserver"; None without workers."""

    threads: int = 0
    """Threads in each worker that fetch samples side by side; 0: the worker's own thread alone."""

    @property
    def depth(self) -> int:
        """The most batches that can be in the making at once: workers × prefetch."""
        return self.workers * (self.prefetch or 0)
