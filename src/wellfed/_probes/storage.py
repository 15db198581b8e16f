"""What stands behind a mount: a network, or which disk, and how the kernel reads ahead."""

import os
from pathlib import Path

from wellfed._probes.files import Unreadable, locate, read_number
from wellfed._probes.mounts import Mount

__all__ = ["device", "is_pseudo", "is_remote", "read_ahead_kb", "rotational"]

# File systems of which every cold read is a round trip. 9p and virtiofs cross to the host of a
# virtual machine rather than a wire, and cost like it.
REMOTE_KINDS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs"}
    | {"afs", "orangefs", "pvfs2", "panfs", "wekafs", "9p", "virtiofs", "fuse"}
)

# Of the FUSE file systems these stay on the machine; others (s3fs, gcsfuse, sshfs ...) do not.
LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.mergerfs", "fuse.lxcfs", "fuse.bindfs"})

# The kernel's own windows; nothing is stored there.
PSEUDO_KINDS = frozenset(
    {"proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "debugfs", "tracefs", "bpf"}
    | {"securityfs", "mqueue"}
)


def is_remote(kind: str) -> bool:
    """Whether reading a file system of this kind crosses a network."""
    return kind in REMOTE_KINDS or (kind.startswith("fuse.") and kind not in LOCAL_FUSE)


def is_pseudo(kind: str) -> bool:
    """Whether files of this kind are made up by the kernel as they are read."""
    return kind in PSEUDO_KINDS


def device(root: Path, mount: Mount) -> str | None:
    """The disk behind the mount, through partitions and device mapper; None if there is none.

    Of a volume that spans several disks it is the volume's own name ("dm-0", "md0").
    """
    found = _block(root, mount)
    while found is not None:
        below = sorted(_slaves(found))
        if len(below) != 1:
            return found.name
        found = _whole(found / "slaves" / below[0])
    return None


def rotational(root: Path, mount: Mount) -> bool | None:
    """Whether the mount's block device says that it spins; None if there is none to ask."""
    block = _block(root, mount)
    value = None if block is None else _number(block / "queue/rotational")
    return None if value is None else bool(value)


def read_ahead_kb(root: Path, mount: Mount) -> int | None:
    """The kernel's read-ahead for the mount in KiB; network file systems have one too."""
    value = _number(Path(locate(root, f"/sys/class/bdi/{mount.device}/read_ahead_kb")))
    if value is not None:
        return value
    block = _block(root, mount)
    return None if block is None else _number(block / "queue/read_ahead_kb")


def _block(root: Path, mount: Mount) -> Path | None:
    """The whole block device in /sys that the mount lies on."""
    path = Path(locate(root, f"/sys/dev/block/{mount.device}"))
    return _whole(path) if os.path.isdir(path) else None


def _whole(path: Path) -> Path:
    """The disk of a partition, the device itself otherwise."""
    real = Path(os.path.realpath(path))
    return real.parent if (real / "partition").exists() else real


def _slaves(block: Path) -> list[str]:
    try:
        return os.listdir(block / "slaves")
    except OSError:
        return []


def _number(path: Path) -> int | None:
    try:
        return read_number(Path("/"), str(path.absolute()))
    except Unreadable:
        return None
