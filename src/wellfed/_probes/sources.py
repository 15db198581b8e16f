"""Surveys where samples come from: the file systems behind the files that were opened."""

import os
import stat
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from wellfed._probes import storage
from wellfed._probes.files import Unreadable
from wellfed._probes.mounts import Mount, mount_of, read_mounts
from wellfed._probes.residency import resident_pages
from wellfed.records import Source

__all__ = ["survey_sources"]

# Enough for a mean within a few per cent where sizes vary by half; opening them on a network file
# system takes well under a second.
MOST_FILES_LOOKED_AT = 64


class _Look(NamedTuple):
    size_bytes: int
    resident: int
    pages: int
    """0 where the kernel does not say what is resident."""


def survey_sources(paths: Iterable[str], *, root: Path = Path("/")) -> tuple[Source, ...]:
    """The file systems that `paths` lie on, the one with most files first. Never raises.

    At most 64 files, evenly over all that were given, are opened for their size and what the page
    cache holds of them; none is read. Those that cannot be looked at count in neither. Nothing
    else is asked of the files, so that thousands of paths on a slow network cost little.

    Args:
        paths: files that were seen to be opened, as absolute paths.
        root: where /proc and /sys are looked for; `paths` are taken as they are.
    """
    try:
        mounts = read_mounts(root)
    except Unreadable:
        return ()
    by_directory: dict[str, list[str]] = defaultdict(list)
    for path in sorted(set(paths)):
        by_directory[os.path.dirname(path)].append(path)
    files: dict[Mount, list[str]] = defaultdict(list)
    for directory, seen in by_directory.items():
        mount = _mount(directory, mounts)
        if mount is not None and not storage.is_pseudo(mount.kind):
            files[mount] += seen
    total = sum(map(len, files.values()))
    # One for each mount, so that none goes unseen, and the others by size.
    spare = max(0, MOST_FILES_LOOKED_AT - len(files))
    sources = [
        _survey(root, mount, seen, 1 + spare * len(seen) // total) for mount, seen in files.items()
    ]
    found = [source for source in sources if source is not None]
    return tuple(sorted(found, key=lambda source: (-source.files_seen, source.path)))


def _mount(directory: str, mounts: tuple[Mount, ...]) -> Mount | None:
    """The mount of a directory, through symbolic links: data sets are often linked to."""
    try:
        return mount_of(os.path.realpath(directory), mounts)
    except (OSError, ValueError):
        return None


def _survey(root: Path, mount: Mount, files: list[str], most: int) -> Source | None:
    """The mount, by up to `most` of its files; None if nothing there can be looked at."""
    part = min(len(files), most)
    spread = (files[index * len(files) // part] for index in range(part))
    looks = [look for path in spread if (look := _look(path)) is not None]
    if not looks:
        return None
    pages = sum(look.pages for look in looks)
    return Source(
        path=mount.point,
        kind=mount.kind,
        remote=storage.is_remote(mount.kind),
        device=storage.device(root, mount),
        rotational=storage.rotational(root, mount),
        read_ahead_kb=storage.read_ahead_kb(root, mount),
        files_seen=len(files),
        mean_file_bytes=sum(look.size_bytes for look in looks) / len(looks),
        resident_share=sum(look.resident for look in looks) / pages if pages else None,
    )


def _look(path: str) -> _Look | None:
    try:
        # Not blocking, should the file have become a pipe since.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):  # ValueError: a path with a NUL in it
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return None
        resident, pages = resident_pages(fd) or (0, 0)
        return _Look(status.st_size, resident, pages)
    except (OSError, ValueError):  # it was cut short, or cannot be mapped
        return None
    finally:
        os.close(fd)
