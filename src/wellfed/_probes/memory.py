"""How much memory, swap and shared memory there is, and what limits it."""

import os
from pathlib import Path

from wellfed._probes import cgroups
from wellfed._probes.files import Unreadable, locate, read_number, read_text, understanding
from wellfed._probes.probe import probe
from wellfed.records import Fact

__all__ = ["limit_bytes", "meminfo_bytes", "shm_free_bytes", "shm_total_bytes", "used_bytes"]

MEMINFO = "/proc/meminfo"
SHM = "/dev/shm"


@probe
def meminfo_bytes(root: Path, name: str) -> Fact[int]:
    """One line of /proc/meminfo, e.g. "MemAvailable"."""
    for line in read_text(root, MEMINFO).splitlines():
        key, _, amount = line.partition(":")
        if key == name:
            with understanding(f"{name} in {MEMINFO}"):
                return Fact(value=int(amount.split()[0]) * 1024, how=f"{name} in {MEMINFO}")
    raise Unreadable(f"{MEMINFO} has no {name}")


@probe
def limit_bytes(root: Path) -> Fact[int]:
    """The tightest cgroup memory limit up the tree."""
    limit = cgroups.memory_limit(root)
    return Fact(value=int(limit.value), how=limit.path)


@probe
def used_bytes(root: Path) -> Fact[int]:
    """Memory charged to the cgroup that has the limit, page cache included."""
    limit = cgroups.memory_limit(root)
    file = "memory.current" if limit.version == 2 else "memory.usage_in_bytes"
    path = f"{limit.directory}/{file}"
    return Fact(value=read_number(root, path), how=path)


@probe
def shm_total_bytes(root: Path) -> Fact[int]:
    """Size of /dev/shm."""
    shm = _statvfs(root)
    return Fact(value=shm.f_blocks * shm.f_frsize, how=f"statvfs {SHM}")


@probe
def shm_free_bytes(root: Path) -> Fact[int]:
    """Free bytes of /dev/shm. Its pages also count as memory, so both limits hold."""
    shm = _statvfs(root)
    return Fact(value=shm.f_bavail * shm.f_frsize, how=f"statvfs {SHM}")


def _statvfs(root: Path) -> os.statvfs_result:
    try:
        return os.statvfs(locate(root, SHM))
    except OSError as error:
        raise Unreadable(f"cannot stat {SHM}: {error.strerror}") from error
