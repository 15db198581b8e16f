"""How crowded the machine is while a loader trains: CPU pressure, throttling, room in memory.

Read once a second by the trainer itself, 200 µs each time; what cannot be read is None.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from wellfed._limits import Room
from wellfed._probes import cgroups
from wellfed._probes.counters import PAGE_BYTES, read_pressure, read_throttling
from wellfed._probes.files import Unreadable, read_text
from wellfed._probes.readings import Differences, Reading
from wellfed._probes.strain import room_reader

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
    pressure, room = _pressure_path(root), room_reader(root)
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
        own = [_own_bytes(root, pid) for pid in pids]
        fitting = _workers(room(), max(own, default=0), len(own))
        return Crowd(seen.get("pressure"), seen.get("throttled_periods_share"), fitting)

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


def _workers(room: Room | None, largest_bytes: int, there: int) -> int | None:
    """Workers that would fit, each as large as the largest that is there."""
    if room is None or not largest_bytes:
        return None
    if room.left_bytes < LEAST_SHARE * room.total_bytes:
        return there - 1
    return there + int(FREE_SHARE * room.left_bytes / largest_bytes)


def _own_bytes(root: Path, pid: int) -> int:
    """Memory of a worker that no file and no shared memory backs; 0 if it is gone.

    Not `private_bytes`: that is exact, and walks the page tables of each worker once a second.
    """
    try:
        _, resident, shared, *_ = read_text(root, f"/proc/{pid}/statm").split()
    except Unreadable:
        return 0
    return (int(resident) - int(shared)) * PAGE_BYTES
