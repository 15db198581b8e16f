"""Asks the kernel how much of a file is in the page cache, without reading it; or to forget it."""

import ctypes
import mmap
import os
from collections.abc import Iterable

__all__ = ["drop_pages", "resident_pages"]

PAGE_BYTES = mmap.PAGESIZE

# The answer costs time for each cached page; the first part of a huge file stands for the rest.
MOST_BYTES = 256 * 2**20

# The same number on all architectures that torch runs on; since Linux 6.5.
SYS_CACHESTAT = 451


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _CacheStat(ctypes.Structure):
    _fields_ = (
        ("cache", ctypes.c_uint64),
        ("dirty", ctypes.c_uint64),
        ("writeback", ctypes.c_uint64),
        ("evicted", ctypes.c_uint64),
        ("recently_evicted", ctypes.c_uint64),
    )


def resident_pages(fd: int) -> tuple[int, int] | None:
    """Pages of the open file that are in the page cache, and pages looked at.

    None if the kernel does not say.
    """
    status = os.fstat(fd)
    length = min(status.st_size, MOST_BYTES)
    if not length:
        return None
    resident = _cachestat(fd, length)
    if resident is None:
        resident = _mincore(fd, length, status)
    pages = -(-length // PAGE_BYTES)
    return None if resident is None else (min(resident, pages), pages)


def _cachestat(fd: int, length: int) -> int | None:
    libc = ctypes.CDLL(None, use_errno=True)
    seen = _CacheStat()
    failed = libc.syscall(
        ctypes.c_long(SYS_CACHESTAT),
        ctypes.c_uint(fd),
        ctypes.byref(_Range(0, length)),
        ctypes.byref(seen),
        ctypes.c_uint(0),
    )
    return None if failed else int(seen.cache)


def _mincore(fd: int, length: int, status: os.stat_result) -> int | None:
    # Of files that are not the caller's own and not writable, mincore(2) says that all is
    # resident, to keep users from watching each other.
    if os.geteuid() not in (0, status.st_uid) and not os.access(f"/proc/self/fd/{fd}", os.W_OK):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    states = (ctypes.c_ubyte * -(-length // PAGE_BYTES))()
    # A private writable mapping, because ctypes takes the address of writable memory only;
    # nothing is written, and no page is touched.
    with mmap.mmap(fd, length, access=mmap.ACCESS_COPY) as mapping:
        start = ctypes.c_char.from_buffer(mapping)
        failed = libc.mincore(
            ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(length), states
        )
        del start  # a mapping that something points into cannot be closed
    # Only the lowest bit is defined.
    return None if failed else sum(state & 1 for state in bytes(states))


def drop_pages(paths: Iterable[str]) -> tuple[float, float] | None:
    """Ask the kernel to forget what it has cached of these files; nothing in them changes.

    No right is needed but to read them. Pages that are not yet written, or that some process has
    mapped, stay.

    Returns:
        Shares of the files' pages that were resident before and are after, 0 to 1; None if that
        cannot be had of any of them.
    """
    looked = before = after = 0
    for path in paths:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            seen = resident_pages(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            left = resident_pages(fd)
        except OSError:
            continue
        finally:
            os.close(fd)
        if seen is not None and left is not None:
            before, after, looked = before + seen[0], after + left[0], looked + seen[1]
    return (before / looked, after / looked) if looked else None
