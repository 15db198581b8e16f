"""Finds the control groups of a process and the tightest limits on the way up.

    /proc/<pid>/cgroup     in which group it is      "4:memory:/jobs/17"   (v1)   "0::/jobs/17" (v2)
    /proc/self/mountinfo   what is mounted where     root "/jobs", at /sys/fs/cgroup/memory
                           -> /sys/fs/cgroup/memory/17, then /sys/fs/cgroup/memory

A limit holds for everything below it, so every directory up to the mount is asked, and the
tightest answer counts. In a container the mount often shows a part of the tree only; limits above
it cannot be seen by anyone inside.

Part of the sampler's process too: imports the standard library only.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from wellfed._probes.files import Missing, Unreadable, locate, read_number, read_text, understanding
from wellfed._probes.mounts import Mount, read_mounts

__all__ = ["Group", "Limit", "cpu_quota", "cpuset", "find_group", "memory_limit"]

# cgroup v1 has no word for "no limit": it shows the largest multiple of the page size that a
# signed 64-bit number holds, 9223372036854771712 with 4 KiB pages. No machine has an EiB.
V1_NO_LIMIT_BYTES = 2**60


class Group(NamedTuple):
    """Where a process stands in one hierarchy."""

    version: int
    """1 or 2."""

    directories: tuple[str, ...]
    """Its own directory first, then each one up to the mount."""


class Limit(NamedTuple):
    """A limit and where it was found."""

    value: float
    directory: str
    file: str
    version: int

    @property
    def path(self) -> str:
        """The file that sets it."""
        return f"{self.directory}/{self.file}"


def find_group(root: Path, controller: str, process: str = "self") -> Group:
    """The group that `controller` ("cpu", "memory", "cpuset") puts the process in.

    Raises:
        Unreadable: not to be found; the reason begins with "none:" where there is no such group.
    """
    version, path = _membership(root, controller, process)
    # The last mount first: a later one hides an earlier one at the same place.
    mounts = [
        mount for mount in reversed(read_mounts(root)) if _carries(mount, version, controller)
    ]
    if not mounts:
        raise Unreadable(
            f"none: the cgroup hierarchy with the {controller} controller is not mounted"
        )
    for mount in mounts:
        below = _below(path, mount)
        if below is not None and os.path.isdir(locate(root, _join(mount.point, below))):
            return Group(version, _upwards(mount.point, below))
    # A private cgroup namespace whose path is told from another one: what is mounted is all that
    # this process can be in.
    return Group(version, (mounts[0].point,))


def cpu_quota(root: Path, process: str = "self") -> Limit:
    """CPU-seconds per second that the tightest quota on the way up allows.

    Raises:
        Unreadable: cannot be told; the reason begins with "none:" where there is no quota.
    """
    group = find_group(root, "cpu", process)
    if group.version == 2:
        limit = _tightest(root, group, "cpu.max", _quota_v2)
    else:
        limit = _tightest(root, group, "cpu.cfs_quota_us", _quota_v1)
    if limit is None:
        raise Unreadable("none: no cgroup on the way up sets a CPU quota")
    return limit


def memory_limit(root: Path, process: str = "self") -> Limit:
    """The tightest memory limit on the way up, in bytes.

    Raises:
        Unreadable: cannot be told; the reason begins with "none:" where there is no limit.
    """
    group = find_group(root, "memory", process)
    if group.version == 2:
        limit = _tightest(root, group, "memory.max", _memory_v2)
    else:
        limit = _tightest(root, group, "memory.limit_in_bytes", _memory_v1)
    if limit is None:
        raise Unreadable("none: no cgroup on the way up sets a memory limit")
    return limit


def cpuset(root: Path) -> tuple[str, str]:
    """The CPUs of this process's cpuset as a list like "0-3,8", and the file that says so.

    Raises:
        Unreadable: no cpuset can be read.
    """
    group = find_group(root, "cpuset")
    name = "cpuset.cpus.effective" if group.version == 2 else "cpuset.effective_cpus"
    for directory in group.directories:
        try:
            return read_text(root, f"{directory}/{name}").strip(), f"{directory}/{name}"
        except Missing:  # the controller is switched off here; the parent's set holds
            continue
    raise Unreadable("none: no cgroup on the way up has a cpuset")


def _membership(root: Path, controller: str, process: str) -> tuple[int, str]:
    """Version and path of the process's group, as /proc/<pid>/cgroup has it."""
    source = f"/proc/{process}/cgroup"
    unified: str | None = None
    for line in read_text(root, source).splitlines():
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if not colon:
            continue
        # A controller that a v1 hierarchy has is not in the v2 one, on hybrid systems too.
        if controller in controllers.split(","):
            return 1, path
        if number == "0" and not controllers:
            unified = path
    if unified is None:
        raise Unreadable(f"none: {source} names no cgroup with the {controller} controller")
    return 2, unified


def _carries(mount: Mount, version: int, controller: str) -> bool:
    if version == 2:
        return mount.kind == "cgroup2"
    return mount.kind == "cgroup" and controller in mount.options


def _below(path: str, mount: Mount) -> str | None:
    """The group's path relative to the mount; None if the mount shows another part of the tree."""
    if ".." in path.split("/"):  # outside this cgroup namespace: see cgroup_namespaces(7)
        return None
    top = mount.root.rstrip("/")
    if path != top and not path.startswith(f"{top}/"):
        return None
    return path[len(top) :].strip("/")


def _join(point: str, below: str) -> str:
    return f"{point.rstrip('/')}/{below}" if below else point


def _upwards(point: str, below: str) -> tuple[str, ...]:
    parts = [part for part in below.split("/") if part]
    return tuple(_join(point, "/".join(parts[:depth])) for depth in range(len(parts), -1, -1))


def _tightest(
    root: Path, group: Group, file: str, read: Callable[[Path, str], float | None]
) -> Limit | None:
    """The smallest limit that `read` finds on the way up; None if there is none.

    Raises:
        Unreadable: no limit was found, and at least one file that may set one is closed to us.
    """
    tightest: Limit | None = None
    closed: Unreadable | None = None
    for directory in group.directories:
        try:
            value = read(root, directory)
        except Missing:  # the root group has no limits, and not every group every controller
            continue
        except Unreadable as error:
            closed = closed or error
            continue
        if value is not None and (tightest is None or value < tightest.value):
            tightest = Limit(value, directory, file, group.version)
    if tightest is None and closed is not None:
        raise closed
    return tightest


def _quota_v2(root: Path, directory: str) -> float | None:
    path = f"{directory}/cpu.max"
    text = read_text(root, path)
    with understanding(path):
        quota_us, period_us = text.split()
        return None if quota_us == "max" else _positive(int(quota_us) / int(period_us))


def _quota_v1(root: Path, directory: str) -> float | None:
    quota_us = read_number(root, f"{directory}/cpu.cfs_quota_us")
    if quota_us < 0:
        return None
    period_us = read_number(root, f"{directory}/cpu.cfs_period_us")
    with understanding(f"{directory}/cpu.cfs_quota_us"):
        return _positive(quota_us / period_us)


def _memory_v2(root: Path, directory: str) -> float | None:
    path = f"{directory}/memory.max"
    text = read_text(root, path).strip()
    with understanding(path):
        return None if text == "max" else _positive(int(text))


def _memory_v1(root: Path, directory: str) -> float | None:
    limit_bytes = read_number(root, f"{directory}/memory.limit_in_bytes")
    with understanding(f"{directory}/memory.limit_in_bytes"):
        return None if limit_bytes >= V1_NO_LIMIT_BYTES else _positive(limit_bytes)


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError(f"{value} is no limit that a running process can have")
    return value
