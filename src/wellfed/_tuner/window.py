"""What was measured over the last batches of a loader that trains, and what it may do about it."""

from wellfed.records._record import Record

__all__ = ["Bounds", "Window", "allowed_workers"]


class Window(Record, frozen=True, kw_only=True):
    """The last so many batches, under one plan."""

    batches: int
    seconds: float
    """Wall time, from the first of them to the last."""
    wait_s: float
    """Of it, time in which the consumer waited for a batch."""
    gap_s: float
    """Mean time between two requests that is the consumer's own: its step."""
    gap_deviation_s: float = 0.0
    """Standard deviation of that."""
    fetch_s: float | None = None
    """Time that a batch takes whoever makes it; None if that was not told."""
    cpu_s: float | None = None
    """Of it, on a CPU."""
    busy_share: float | None = None
    """Of the workers' time, what they spend on batches. Near 1: they set the pace."""
    pressure_share: float | None = None
    """Time in which some task waited for a CPU; None where the kernel does not tell."""
    throttled_share: float | None = None
    """Scheduling periods in which the CPU quota ran out."""
    room_workers: int | None = None
    """Workers that memory has room for, those that are there included; None if not known."""
    left_s: float | None = None
    """What is left of the epoch at this pace; None if its length is not known."""

    @property
    def period_s(self) -> float:
        """Seconds from batch to batch."""
        return self.seconds / self.batches

    @property
    def wait_share(self) -> float:
        """Share of the time spent waiting. Above 0.05: worth a look; above 0.3: mostly idle."""
        return self.wait_s / self.seconds

    @property
    def demand_s(self) -> float:
        """Seconds per batch that the consumer asks for: its quicker steps, not the mean one."""
        return max(self.gap_s - self.gap_deviation_s, 0.0)


class Bounds(Record, frozen=True, kw_only=True):
    """Within what a loader may change its plan; each reason is a sentence, "" if there is none."""

    cpus: int
    """CPUs that this rank may use: its share of the machine's."""
    most_workers: int
    """Worker processes that it may have, whatever they do."""
    most_prefetch: int = 8
    most_threads: int = 0
    """Threads of a worker; 0 without the user's consent."""
    why_fixed: str = ""
    """Why each batch is made by its own worker."""
    why_read_so: str = ""
    """Why the sampler is read just as far ahead as it is."""
    backends: tuple[str, ...] = ()
    """Other back ends that could take over within the epoch."""
    inline_s: float = 0.0
    """A batch that takes less is cheaper to make than to hand over."""
    switch_s: float = 0.5
    """What a switch costs: the start of a worker, as measured when there was one."""


def allowed_workers(bounds: Bounds, window: Window) -> int:
    """Workers that the bounds allow and memory has room for, but one at the least."""
    room = bounds.most_workers if window.room_workers is None else window.room_workers
    return max(1, min(bounds.most_workers, room))
