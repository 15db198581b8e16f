"""Readers of the kernel's machine-wide files: CPU, disks, memory, pressure, throttling.

Part of the sampler's process: imports the standard library only.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from wellfed._probes.cgroups import Limit
from wellfed._probes.files import Unreadable, locate, read_text, understanding
from wellfed._probes.readings import Level, Peak, Rate, Ratio, Reading

__all__ = [
    "read_cpus",
    "read_disks",
    "read_memory",
    "read_pressure",
    "read_shm",
    "read_swap",
    "read_throttling",
]

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

# /proc/diskstats counts in sectors of 512 bytes, whatever the disk's own are.
SECTOR_BYTES = 512

# Their traffic is counted again on the disks below them, or (zram, ram) reaches no disk.
STACKED = re.compile(r"(loop|dm-|md|zram|ram|sr|fd|drbd|bcache)\d")


def read_cpus(root: Path) -> Iterator[Reading]:
    """Busy time of all cores and of each, time stolen by the hypervisor, runnable tasks."""
    text = read_text(root, "/proc/stat")
    with understanding("/proc/stat"):
        seen = False
        for line in text.splitlines():
            if line.startswith("cpu"):
                name, *fields = line.split()
                times = [int(field) for field in fields[:8]]
                busy_s = _busy_ticks(times) / TICKS_PER_S
                if name == "cpu":
                    seen = True
                    yield Rate("cpu_busy_cores", busy_s)
                    yield Ratio("steal_share", times[7], sum(times))
                else:
                    yield Rate(f"cpu_core_{int(name[3:])}", busy_s)
            elif line.startswith("procs_running"):
                # The sampler itself is running as it reads this.
                yield Level("run_queue", max(0, int(line.split()[1]) - 1))
        if not seen:
            raise ValueError("no line of all CPUs")


def _busy_ticks(times: list[int]) -> int:
    user, nice, system, _idle, _iowait, irq, softirq, _steal = times
    return user + nice + system + irq + softirq


def read_disks(root: Path) -> Iterator[Reading]:
    """Reads of all real disks together, and of each that has read anything since boot.

    "Busy" is the time with at least one request in flight; fast disks serve many at once, so
    that 1 does not mean that no more would fit. For all disks together it is the busiest one's.
    """
    text = read_text(root, "/proc/diskstats")
    reads = read_bytes = 0
    busy_s: list[float] = []
    disk = ""
    with understanding("/proc/diskstats"):
        for line in text.splitlines():
            fields = line.split()
            name = fields[2]
            if STACKED.match(name) or (disk and _is_partition(name, disk)):
                continue
            disk = name  # the kernel lists a disk before its partitions
            count, sectors, busy_ms = int(fields[3]), int(fields[5]), int(fields[12])
            reads += count
            read_bytes += sectors * SECTOR_BYTES
            busy_s.append(busy_ms / 1000)
            if count:
                yield Rate(f"disk_reads_per_s_{name}", count)
                yield Rate(f"disk_read_bytes_per_s_{name}", sectors * SECTOR_BYTES)
                yield Rate(f"disk_busy_share_{name}", busy_ms / 1000)
    if not busy_s:
        raise Unreadable("none: /proc/diskstats lists no disk")
    yield Rate("disk_reads_per_s", reads)
    yield Rate("disk_read_bytes_per_s", read_bytes)
    yield Peak("disk_busy_share", tuple(busy_s))


def _is_partition(name: str, disk: str) -> bool:
    """sda1 of sda; nvme0n1p1 of nvme0n1, where a digit alone would be another disk."""
    mark = "p" if disk[-1].isdigit() else ""
    return re.fullmatch(rf"{re.escape(disk)}{mark}\d+", name) is not None


def read_swap(root: Path) -> Iterator[Reading]:
    """Traffic with swap, in both directions."""
    found = dict(_pairs(read_text(root, "/proc/vmstat")))
    with understanding("/proc/vmstat"):
        yield Rate("swap_in_bytes_per_s", int(found["pswpin"]) * PAGE_BYTES)
        yield Rate("swap_out_bytes_per_s", int(found["pswpout"]) * PAGE_BYTES)


def read_memory(root: Path) -> Iterator[Reading]:
    """The page cache. The kernel's "Cached" also counts shared memory, which is no file's."""
    found = dict(_pairs(read_text(root, "/proc/meminfo")))
    with understanding("/proc/meminfo"):
        cached_kb = int(found["Cached:"]) + int(found["Buffers:"]) - int(found["Shmem:"])
        yield Level("page_cache_bytes", max(0, cached_kb) * 1024)


def read_shm(root: Path) -> Iterator[Reading]:
    """What is in use of /dev/shm, by everybody."""
    try:
        shm = os.statvfs(locate(root, "/dev/shm"))
    except OSError as error:
        raise Unreadable(f"cannot stat /dev/shm: {error.strerror}") from error
    yield Level("shm_used_bytes", (shm.f_blocks - shm.f_bfree) * shm.f_frsize)


def read_pressure(root: Path, path: str, series: dict[str, str]) -> Iterator[Reading]:
    """Share of time that tasks stood still for want of something.

    Args:
        root: where the absolute `path` is looked for.
        path: /proc/pressure/io or a cgroup's io.pressure.
        series: which line gives which series: {"some": "psi_io_some_share"}.
    """
    text = read_text(root, path)
    with understanding(path):
        stalled_us = {
            line.split()[0]: int(line.rpartition("total=")[2]) for line in text.splitlines()
        }
        for line, name in series.items():
            yield Rate(name, stalled_us[line] / 1e6)


def read_throttling(root: Path, quota: Limit) -> Iterator[Reading]:
    """How often, and for how long, the group with the quota had to stand still.

    The time adds up over the cores that were throttled, so it can pass 1 s per second.
    """
    path = f"{quota.directory}/cpu.stat"
    found = dict(_pairs(read_text(root, path)))
    with understanding(path):
        yield Ratio("throttled_periods_share", int(found["nr_throttled"]), int(found["nr_periods"]))
        if quota.version == 2:
            yield Rate("throttled_s_per_s", int(found["throttled_usec"]) / 1e6)
        else:
            yield Rate("throttled_s_per_s", int(found["throttled_time"]) / 1e9)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """First and second word of each line that has both."""
    for line in text.splitlines():
        words = line.split(None, 2)
        if len(words) >= 2:
            yield words[0], words[1]
