"""Facts about the machine and the workload, each with how it was found.

A fact that could not be read has `value=None` and says why in `how`: nothing here is a guess.
"""

from typing import Generic, TypeVar

from wellfed.records._record import Record

__all__ = ["Fact", "Gpu", "Machine", "Source", "Workload"]

T = TypeVar("T")


class Fact(Record, Generic[T], frozen=True, kw_only=True):
    """One thing found out."""

    value: T | None = None
    """What was found; None if it could not be read."""

    how: str
    """Where it was read, or, if `value` is None, why it could not be."""


class Gpu(Record, frozen=True, kw_only=True):
    """One GPU as its driver describes it."""

    index: int
    name: str
    memory_bytes: int
    """Memory of the device, in bytes."""

    busy_share: float | None = None
    """Share of the last sample period with a kernel running, 0 to 1; None if unreadable."""


class Machine(Record, frozen=True, kw_only=True):
    """What this process may really use: not what the host has, but what its limits leave."""

    platform: Fact[str]
    python_version: Fact[str]
    torch_version: Fact[str]

    cpus_host: Fact[int]
    """Logical CPUs online on the host. A container or a job often may use far fewer."""

    cpus_affinity: Fact[int]
    """CPUs in the affinity mask of the process: cpusets and `taskset` show here, quotas do not."""

    cpus_quota: Fact[float]
    """CPU-seconds per second that the tightest cgroup quota up the tree allows; None: no quota."""

    cpus_slurm: Fact[int]
    """CPUs that Slurm granted to the task; None outside Slurm."""

    cpus_usable: Fact[float]
    """The smallest of the four above. CPU-bound work cannot use more cores than this."""

    parallel_efficiency: Fact[float]
    """Work done by one busy process per usable CPU, against the same number of lone processes.

    1 means that cores are whole and idle; 0.5 to 0.7 is usual where two logical CPUs share one
    core, or where neighbours keep cores busy.
    """

    threads_intra_op: Fact[int]
    """Threads that one torch operation may use in the trainer's process."""

    memory_total_bytes: Fact[int]
    memory_available_bytes: Fact[int]
    """What the kernel thinks can be had without swapping (MemAvailable)."""

    memory_limit_bytes: Fact[int]
    """The tightest cgroup memory limit up the tree; None: no limit. Page cache counts in it."""

    memory_used_bytes: Fact[int]
    """Memory charged to the cgroup that has the limit, page cache included; None: no limit."""

    swap_total_bytes: Fact[int]
    swap_free_bytes: Fact[int]
    shm_total_bytes: Fact[int]
    shm_free_bytes: Fact[int]
    """Free bytes of /dev/shm, where torch's workers put their batches."""

    fd_limit: Fact[int]
    """Soft limit of open files (RLIMIT_NOFILE). torch keeps about one per tensor in flight."""

    start_method: Fact[str]
    """How multiprocessing starts processes here by default."""

    gpus: Fact[tuple[Gpu, ...]]
    """GPUs that NVML shows; an empty list is a machine without one."""

    def unread(self) -> list[str]:
        """Names and reasons of the facts that could not be read, for the report's small print."""
        return [
            f"{name}: {fact.how}"
            for name in self.__struct_fields__
            if isinstance(fact := getattr(self, name), Fact)
            and fact.value is None
            and not fact.how.startswith("none:")
        ]


class Source(Record, frozen=True, kw_only=True):
    """One file system that samples were really read from."""

    path: str
    """Where it is mounted."""

    kind: str
    """File system type, as /proc/self/mountinfo names it: ext4, nfs4, tmpfs, overlay ..."""

    remote: bool
    """True where a read crosses a network (nfs, cifs, ceph, lustre, fuse and their like)."""

    device: str | None = None
    """Block device behind it, e.g. "vda"; None for tmpfs and network file systems."""

    rotational: bool | None = None
    """True for spinning disks; None if there is no block device or it does not say."""

    read_ahead_kb: int | None = None
    """The kernel's read-ahead of that device, in KiB."""

    files_seen: int
    """How many of the opened files that were noticed lie here."""

    mean_file_bytes: float | None = None
    """Mean size of those files, in bytes."""

    resident_share: float | None = None
    """Share of their pages in the page cache, 0 to 1. Near 1: reads cost no device time."""


class Workload(Record, frozen=True, kw_only=True):
    """What is loaded, as far as it can be seen without touching it."""

    dataset: str
    """Class of the dataset, e.g. "torchvision.datasets.ImageFolder"."""

    style: str
    """"map" (indexed) or "iterable"."""

    length: int | None = None
    """Samples in the dataset; None if it does not say."""

    batch_size: int | None = None
    """Samples per batch; None where the sampler or the dataset makes the batches."""

    batches_per_epoch: int | None = None

    batched_fetch: bool = False
    """Whether the dataset fetches a batch in one call (`__getitems__`)."""

    in_memory: bool = False
    """Whether every sample is a row of tensors held in memory (exactly TensorDataset, or a
    Subset or ConcatDataset of such), so that fetching by rows is known to be safe and equal."""

    default_collate: bool = True
    """Whether the loader collates with torch's default."""

    dataset_pickled_bytes: Fact[int] | None = None
    """Bytes that spawn or forkserver must send to each worker; None if not asked."""

    sources: tuple[Source, ...] = ()
    """File systems that samples were read from; empty if no file was seen to be opened."""

    batched_fetch_s: Fact[float] | None = None
    """Measured seconds to fetch one batch by rows, all at once; only where `in_memory`."""

    inline_batch_s: Fact[float] | None = None
    """Measured seconds to make one batch in the trainer's process without workers; only where
    that is known to be harmless."""

    copy_s: Fact[float] | None = None
    """Measured seconds to copy as many bytes as a batch has to the device, from ordinary memory;
    only where a device was used."""

    copy_pinned_s: Fact[float] | None = None
    """The same seconds from page-locked memory."""

    release_s: Fact[float] | None = None
    """Measured seconds to give as much shared memory back as a batch came in, which the loop pays
    when it lets go of a batch; only where torch's workers made batches."""

    sampler: str = ""
    """Class of the sampler, e.g. "torch.utils.data.distributed.DistributedSampler"."""

    sampler_shuffles: bool = False
    """Whether it has a `set_epoch` and a `shuffle` that is on: each epoch then wants another order,
    and it is up to the script to ask for it."""
