"""What the spans amount to: estimates with intervals, and a ledger that balances."""

import msgspec

from wellfed.records._record import Record

__all__ = ["Estimate", "Ledger", "Line", "Stage", "StageStats"]


class Estimate(Record, frozen=True, kw_only=True):
    """A number with its 90 % interval: the truth lies in [low, high] nine times of ten."""

    value: float
    low: float
    high: float
    n: int = 0
    """Independent observations behind it, autocorrelation taken off; 0 if it is derived."""

    @property
    def spread(self) -> float:
        """Half the interval over the value: 0.05 reads "within 5 %". Infinite at value 0."""
        return (self.high - self.low) / 2 / abs(self.value) if self.value else float("inf")


class Stage(Record, frozen=True, kw_only=True):
    """One stage of the pipeline, per batch, in steady state."""

    name: str
    """wait, step, fetch, samples, collate, serialise, queued, receive, pin, sampler or idle."""
    wall_s: Estimate
    """Mean seconds per batch."""
    cpu_s: float | None = None
    """Mean CPU seconds per batch; None where the stage's CPU time is not seen."""
    cv: float = 0.0
    """Coefficient of variation between batches. Above 0.5, in-order delivery starts to cost."""
    p50_s: float = 0.0
    p90_s: float = 0.0
    p99_s: float = 0.0


class StageStats(Record, frozen=True, kw_only=True):
    """What a batch costs, stage by stage, in steady state (warm-up left out)."""

    batches: int
    """Batches in steady state that all this rests on."""
    warmup: int
    """Batches left out: what was in flight when the epoch began, and one a worker more."""
    window_s: float
    """Wall seconds that the steady batches span."""
    period_s: Estimate
    """Seconds from one batch to the next in the trainer's loop: the step as people time it."""
    wait_share: Estimate
    """Share of the period inside `__next__`, 0 to 1.

    Near 0: loading keeps up, leave it alone. Above 0.05: worth a look. Above 0.3: the step
    mostly waits.
    """
    stages: dict[str, Stage]
    """By name; a stage that does not exist under this plan is absent."""
    samples_per_batch: float | None = None
    tensors_per_batch: float | None = None
    objects_per_batch: float | None = None
    payload_bytes: float | None = None
    """Bytes of tensors and arrays per batch."""
    message_bytes: float | None = None
    """Bytes per batch through the pipe."""

    sample_s: float | None = None
    """Mean seconds per sample; None where samples are not fetched one by one."""
    sample_cv: float | None = None
    sample_p50_s: float | None = None
    sample_p90_s: float | None = None
    sample_p99_s: float | None = None

    maker_cpu_share: float = 0.0
    """CPU over wall time of the fetching thread. Near 1: computing. Near 0: waiting."""
    maker_queue_share: float = 0.0
    """Share of fetch time the thread was ready but had no core. Above 0.1: cores are short."""
    maker_off_share: float = 0.0
    """Share of fetch time blocked (storage, network, locks, sleeps): neither of the two above."""
    native_cpu_share: float = 0.0
    """CPU of the maker's *other* threads over its own. Above 0.5: libraries run threads there."""
    threads: float | None = None
    """Threads per worker process, as counted."""
    step_cpu_cores: float | None = None
    """Cores that the trainer's process keeps busy during its own step."""

    step_queue_share: float | None = None
    """Share of its own step in which the trainer's thread was ready and had no core."""

    read_bytes_per_batch: float | None = None
    """Bytes from storage per batch; 0 when the page cache had them."""
    read_chars_per_batch: float | None = None
    read_calls_per_batch: float | None = None
    major_faults_per_batch: float = 0.0
    preemptions_per_batch: float = 0.0
    yields_per_batch: float = 0.0

    ready: float | None = None
    """Mean batches ready when the trainer asked. 0: starving. At the limit: the loader is ahead."""
    unready_wait_share: float | None = None
    """Share of the waiting in which the batch had not come yet. Below 0.5: most of it is unpacking,
    or the trainer's own, and a deeper buffer shortens none of that. None where it was not seen."""
    held_wait_share: float = 0.0
    """Share of the period spent waiting while later batches were already there, held back."""
    device_stall_share: float | None = None
    """Share of the period in which the device had nothing to do; None without a device."""
    drew: tuple[str, ...] = ()
    """Global random generators that fetching draws from: python, numpy, torch."""
    allowed_cpus: int | None = None
    """CPUs in the workers' affinity mask."""
    cores_seen: int | None = None
    """Distinct cores on which workers were seen."""
    cold_batches: int = 0
    """Leading batches that read from storage what later ones found in the page cache."""
    startup_s: Estimate | None = None
    """Seconds per epoch from `iter()` to the first batch, beyond a usual wait."""
    shutdown_s: float = 0.0
    """Seconds per epoch spent ending the workers."""
    epoch_s: float | None = None
    """Seconds per epoch, start-up and all; None if no epoch was seen whole."""
    epochs: int = 0
    """Epochs seen whole."""
    watch_s: float = 0.0
    """Seconds per batch that watching cost."""

    gauges: dict[str, float] = msgspec.field(default_factory=dict)
    """Means of the gauges over the window, by name."""


class Line(Record, frozen=True, kw_only=True):
    """One line of the ledger."""

    name: str
    """startup, wait, fetch, collate, sampler, receive, pin, step, shutdown, other_loaders or
    other."""
    seconds: float


class Ledger(Record, frozen=True, kw_only=True):
    """Where the consumer's wall time went. The lines add up to the wall, the rest is "other"."""

    wall_s: float
    lines: tuple[Line, ...]

    def share(self, name: str) -> float:
        """Share of the wall on that line, 0 to 1; 0 for a line that is not there."""
        seconds = sum(line.seconds for line in self.lines if line.name == name)
        return seconds / self.wall_s if self.wall_s else 0.0
