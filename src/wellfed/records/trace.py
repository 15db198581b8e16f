"""All that one run of one Plan showed: a span a batch, an entry an epoch, gauges beside them.

All times are nanoseconds of one system-wide monotonic clock, counted from the start of the trace,
so a worker's times and the trainer's compare directly.

    worker    taken ── fetch ── (collate inside) ── put ── serialise ──┐
    trainer   asked ─────────────── waiting ─────────────── receive ──┴─ got ── step ── asked ...
"""

import msgspec

from wellfed.records._record import Record
from wellfed.records.beside import Gauge, HotLine, LoaderSeen, RankSeen
from wellfed.records.looks import Look
from wellfed.records.plan import Plan
from wellfed.records.sites import Site

__all__ = ["BUCKETS_PER_OCTAVE", "Epoch", "Span", "Trace"]

BUCKETS_PER_OCTAVE = 8
"""Sample durations are counted in buckets of 2**(1/8): a quantile is right within 9 %."""


class Span(msgspec.Struct, frozen=True, kw_only=False, array_like=True):
    """One batch: who made it, when, with what, and how long the trainer waited for it.

    Saved as an array, so a new field goes to the end and has a default. Times are nanoseconds
    since the start of the trace; durations end in `_ns` too and are named for what they time.
    -1 means "not seen" (a worker that died, a signal this platform lacks).
    """

    # -- the trainer's side
    epoch: int
    """Index into `Trace.epochs`."""
    number: int
    """Which batch of its epoch, in the order delivered."""
    asked_ns: int
    """When the trainer called `__next__`."""
    got_ns: int
    """When `__next__` returned."""
    asked_cpu_ns: int = -1
    """CPU clock of the trainer's process (all threads) when it asked."""
    got_cpu_ns: int = -1
    """The same clock when it got the batch: the difference is CPU spent inside `__next__`."""
    sampler_ns: int = 0
    """Time inside the sampler, within this `__next__`."""
    ready: int = -1
    """Batches that had arrived but were not yet taken when the trainer asked."""
    held: int = 0
    """Batches held back at that moment because an earlier one was missing (in-order delivery)."""
    arrived_ns: int = -1
    """When the batch's message was read by the trainer's process (or its pinning thread)."""
    receive_ns: int = 0
    """Time to rebuild the batch from its message: unpickling, mapping shared memory."""
    pin_ns: int = 0
    """Time the pinning thread took to copy it to page-locked memory."""
    message_bytes: int = 0
    """Bytes of the message through the pipe; tensors travel beside it, in shared memory."""
    device_stall_ns: int = -1
    """Time the device had nothing to do while the trainer waited, by device events; -1: no
    device. A long wait with a stall of 0 cost nothing: the device was still working."""

    # -- the maker's side (the worker, or the trainer itself without workers)
    worker: int = -1
    """Worker id; -1 when the trainer's process made the batch."""
    pid: int = 0
    taken_ns: int = -1
    """When the worker took the request from its queue."""
    idle_ns: int = 0
    """How long the worker had waited for that request."""
    fetch_ns: int = 0
    """Reading the samples and collating them, wall time."""
    collate_ns: int = 0
    """The collate part of it."""
    cpu_ns: int = 0
    """On-CPU time of the fetching thread during the fetch."""
    collate_cpu_ns: int = 0
    native_cpu_ns: int = 0
    """CPU time that *other* threads of the worker used during the fetch (OpenCV, BLAS, ...)."""
    run_queue_ns: int = -1
    """Time the fetching thread was ready to run and had no core."""
    major_faults: int = 0
    """Page faults that needed the disk."""
    minor_faults: int = 0
    read_bytes: int = -1
    """Bytes fetched from storage for this thread (page-cache hits are not in it)."""
    read_chars: int = -1
    """Bytes returned by read calls, cached or not."""
    read_calls: int = -1
    """Read calls."""
    yields: int = 0
    """Voluntary context switches: waits for I/O, locks, sleeps."""
    preemptions: int = 0
    """Involuntary context switches: another thread wanted the core."""
    serialise_ns: int = 0
    """Pickling the message, with the copy of tensors to shared memory where that is still due."""
    serialise_cpu_ns: int = 0
    queued_ns: int = 0
    """From the end of the fetch to the start of its serialisation, in the worker's own queue."""
    sent_ns: int = -1
    """When serialisation ended."""
    samples: int = -1
    """Samples in the batch; -1 if it could not be told."""
    tensors: int = -1
    """Tensors in the batch; -1 if this batch was not looked into."""
    payload_bytes: int = -1
    """Bytes of those tensors and arrays."""
    objects: int = -1
    """Other Python objects in the batch (strings, numbers, containers)."""
    sample_sum_ns: int = 0
    """Sum of the samples' durations; 0 where samples are not fetched one by one, or were not
    timed in this batch."""
    sample_max_ns: int = 0
    sample_buckets: dict[int, int] = msgspec.field(default_factory=dict)
    """Counts of sample durations by bucket: duration ≈ 2**(bucket / BUCKETS_PER_OCTAVE) ns."""
    drew: int = -1
    """Which global random generators the batch drew from: 1 python, 2 NumPy, 4 torch (bits);
    0 none; -1 not looked at."""
    threads: int = -1
    """Threads of the worker's process; -1 if not counted at this batch."""
    watch_ns: int = 0
    """What watching this batch cost its maker."""
    allowed_cpus: int = -1
    """CPUs in the maker's affinity mask; -1 if not read at this batch."""
    cpu_core: int = -1
    """Core on which the maker was last seen; -1 if not read."""
    paused_ns: int = 0
    """Time wellfed itself took just before the request, deciding whether it had seen enough. It
    lies between the last `got_ns` and this `asked_ns` and is not the user's step."""
    parts: int = 1
    """Parts in which several workers made it side by side. The maker's amounts are then of all of
    them together, and its durations those of the part that took longest."""
    step_queue_ns: int = -1
    """Time the trainer's thread was ready to run and had no core, in the step before the request;
    -1 in the first batch of an epoch, and where that is not seen."""
    pinned: int = -1
    """1 if the batch's first tensor was in page-locked memory, 0 if not; -1 if not looked at."""

    @property
    def wait_ns(self) -> int:
        """Time inside `__next__`: what the trainer waited for this batch.

        Without what watching cost, where the trainer itself made the batch.
        """
        own_ns = self.watch_ns if self.worker < 0 else 0
        return max(0, self.got_ns - self.asked_ns - own_ns)


class Epoch(Record, frozen=True, kw_only=True):
    """One pass over the loader: its beginning, its start-up cost and its end."""

    index: int
    iter_ns: int
    """When `iter(loader)` was called."""
    ready_ns: int
    """When it returned: processes started, first requests sent."""
    first_ns: int = -1
    """When the first batch was in the trainer's hands; -1 if it never came."""
    ended_ns: int = -1
    """When StopIteration was raised or the iterator was dropped; -1 if still running."""
    shutdown_ns: int = 0
    """Time spent shutting the workers down."""
    started_workers: int = 0
    """Workers started for this epoch; 0 where persistent workers were used again."""
    start_ns: tuple[int, ...] = ()
    """Time each `Process.start()` took in the trainer."""
    worker_begin_ns: tuple[int, ...] = ()
    """When each worker's loop began to run."""
    batches: int = 0
    """Batches delivered."""
    complete: bool = False
    """Whether it ran to its end."""
    pickle_ns: tuple[int, ...] = ()
    """Time that pickling each worker's start took, within its `start_ns`; empty with fork."""
    pickled_bytes: tuple[int, ...] = ()
    """Bytes that were pickled for each: the dataset, and what else the worker is given."""
    order: int = -1
    """Fingerprint of the first indices that the sampler gave; -1 if it gives none that are whole
    numbers."""
    numbers: dict[str, int] = msgspec.field(default_factory=dict)
    """Whole numbers that the trainer's copy of the dataset holds at `iter()`, by attribute."""
    gc_ns: int = 0
    """Time that Python's full garbage collections took in the trainer's process."""
    gc_runs: int = 0
    """How many there were."""


class Trace(Record, frozen=True, kw_only=True):
    """All that one run of one Plan showed."""

    plan: Plan
    site: Site | None = None
    """Where the loader was built; None if that was not seen."""
    loader: str = "torch.utils.data.DataLoader"
    """Class of the loader."""
    rank: int = 0
    world: int = 1
    """Ranks of the distributed run."""
    local_world: int = 1
    """Ranks of the run on this machine; they share its cores."""
    pid: int = 0
    began_unix_s: float = 0.0
    """Wall-clock time of the trace's zero."""
    ended_ns: int = 0
    """When watching ended."""
    ended_because: str = "finished"
    """"stopped" (enough evidence or time), "finished", "raised" or "interrupted"."""
    spans: tuple[Span, ...] = ()
    """The last batches, at most the recorder's limit; contiguous."""
    spans_dropped: int = 0
    """Earlier spans that the limit pushed out."""
    epochs: tuple[Epoch, ...] = ()
    gauges: tuple[Gauge, ...] = ()
    others: tuple[LoaderSeen, ...] = ()
    hot_lines: tuple[HotLine, ...] = ()
    """Where workers spent their fetches, as sampled; the hottest first, at most 32."""
    ranks: tuple[RankSeen, ...] = ()
    """All ranks of the run that were heard, this one among them; empty without others."""
    device: str = "cpu"
    """Where steps ran, as far as seen: "cpu" or "cuda"."""
    failures: tuple[str, ...] = ()
    """Probes that failed and were switched off, one sentence each."""
    looks: tuple[Look, ...] = ()
    """Closer looks at some batches, in the order they were delivered."""
    limited: tuple[str, ...] = ()
    """What wellfed's loader changed to keep within a limit, in order, one sentence each."""
    deaths: tuple[str, ...] = ()
    """Worker processes of wellfed's loader that died and were replaced, the last at most 32."""
