"""How crowded the machine is while a loader trains: CPU pressure, throttling, room in memory.

Read once a second by the trainer itself, 200 µs each time; what cannot be read is None.
"""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from wellfed._probes import cgroups
from wellfed._probes.counters import PAGE_BYTES, read_pressure, read_throttling
from wellfed._probes.files import Unreadable, read_text
from wellfed._probes.memory import limit_bytes, meminfo_bytes, used_bytes
from wellfed._probes.readings import Differences, Reading

__all__ = ["Crowd", "crowding"]

# Of what is free, workers may take so much; with less than that part of all left, one has to go.
FREE_SHARE, LEAST_SHARE = 0.5, 0.03


class Crowd(NamedTuple):
    """What others leave."""

    pressure_share: float | None = None
    """Time in which some task of this group, or of the machine, waited for a CPU."""
    throttled_share: float | None = None
    """Scheduling periods in which the CPU quota ran out."""
    room_workers: int | None = None
    """Workers that memory has room for, with those that are there."""


def crowding(root: Path = Path("/")) -> Callable[[Iterable[int]], Crowd]:
    """A function that is given the workers' pids, and reads how crowded it was since last time."""
    rates = Differences()
    pressure = _pressure_path(root)
    try:
        quota: cgroups.Limit | None = cgroups.cpu_quota(root)
    except Unreadable:
        quota = None

    def read(pids: Iterable[int]) -> Crowd:
        readings: list[Reading] = []
        try:
            readings += read_pressure(root, pressure, {"some": "pressure"})
            if quota is not None:
                readings += read_throttling(root, quota)
        except Unreadable:
            pass
        seen = rates.samples(time.monotonic_ns(), readings)
        return Crowd(
            seen.get("pressure"), seen.get("throttled_periods_share"), _room(root, list(pids))
        )

    return read


def _pressure_path(root: Path) -> str:
    try:
        own = [f"{one}/cpu.pressure" for one in cgroups.find_group(root, "cpu").directories[:1]]
    except Unreadable:
        own = []
    for path in own:
        try:
            read_text(root, path)
        except Unreadable:
            continue
        return path
    return "/proc/pressure/cpu"


def _room(root: Path, pids: list[int]) -> int | None:
    """Workers that would fit, each as large as the largest that is there."""
    largest = max((_own_bytes(root, pid) for pid in pids), default=0)
    available, total = meminfo_bytes(root, "MemAvailable").value, meminfo_bytes(root, "MemTotal")
    if not largest or available is None or total.value is None:
        return None
    least_bytes = LEAST_SHARE * total.value
    limit, used = limit_bytes(root).value, used_bytes(root).value
    if limit is not None and used is not None:
        # Page cache counts as used: it is not, so that the machine's own number bounds this one.
        available = min(available, max(limit - used, 0) + _cache_bytes(root))
        least_bytes = min(least_bytes, LEAST_SHARE * limit)
    if available < least_bytes:
        return len(pids) - 1
    return len(pids) + int(FREE_SHARE * available / largest)


def _own_bytes(root: Path, pid: int) -> int:
    """Memory of a worker that no file and no shared memory backs; 0 if it is gone."""
    try:
        _, resident, shared, *_ = read_text(root, f"/proc/{pid}/statm").split()
    except Unreadable:
        return 0
    return (int(resident) - int(shared)) * PAGE_BYTES


def _cache_bytes(root: Path) -> int:
    """Page cache of the group that has the memory limit, which the kernel gives up first."""
    try:
        limit = cgroups.memory_limit(root)
        text = read_text(root, os.path.join(limit.directory, "memory.stat"))
    except Unreadable:
        return 0
    name = "inactive_file" if limit.version == 2 else "total_inactive_file"
    for line in text.splitlines():
        key, _, amount = line.partition(" ")
        if key == name:
            return int(amount)
    return 0
