"""What is mounted where, as /proc/self/mountinfo tells it.

Part of the sampler's process too: imports the standard library only.
"""

import re
from pathlib import Path
from typing import NamedTuple

from wellfed._probes.files import read_text

__all__ = ["Mount", "mount_of", "read_mounts"]

MOUNTINFO = "/proc/self/mountinfo"


class Mount(NamedTuple):
    """One line of mountinfo; see proc_pid_mountinfo(5)."""

    device: str
    """ "major:minor" of the file system; major 0 where no block device is behind it."""

    root: str
    """Which directory of the file system is mounted; not "/" for bind mounts and containers."""

    point: str
    """Where it is mounted."""

    kind: str
    """ext4, nfs4, cgroup2 ..."""

    source: str
    """What is mounted: "/dev/vda1", "server:/export" ..."""

    options: tuple[str, ...]
    """Options of the file system; for cgroup v1 these name its controllers."""


def read_mounts(root: Path) -> tuple[Mount, ...]:
    """All mounts, oldest first; lines that make no sense are left out.

    Raises:
        Unreadable: mountinfo cannot be read.
    """
    lines = read_text(root, MOUNTINFO).splitlines()
    return tuple(mount for line in lines if (mount := _parse(line)) is not None)


def mount_of(path: str, mounts: tuple[Mount, ...]) -> Mount | None:
    """The mount that `path`, absolute and without symbolic links, lies on."""
    best: Mount | None = None
    for mount in mounts:
        inside = path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
        # At equal length the later one wins: it is mounted over the earlier.
        if inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def _parse(line: str) -> Mount | None:
    # Optional fields of any number stand before the dash.
    placed, dash, mounted = line.partition(" - ")
    fields, behind = placed.split(), mounted.split()
    if not dash or len(fields) < 5 or len(behind) < 2:
        return None
    return Mount(
        device=fields[2],
        root=_unescape(fields[3]),
        point=_unescape(fields[4]),
        kind=behind[0],
        source=_unescape(behind[1]),
        options=tuple(behind[2].split(",")) if len(behind) > 2 else (),
    )


def _unescape(text: str) -> str:
    """Undo the kernel's octal escapes of space, tab, newline and backslash."""
    return re.sub(r"\\([0-3][0-7]{2})", lambda found: chr(int(found[1], 8)), text)
