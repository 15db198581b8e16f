"""Memory that two processes map, and who still holds a part of it.

A region is written again only when nobody can read what it held, in whichever disguise. What is
watched is therefore not a tensor but the *exporter* of its bytes: the ctypes array that a storage
was built on. Every alias keeps it alive: views, `.detach()`, `.numpy()`, a storage, a memoryview.

Guarantees
- an exporter's end is noted by one `deque.append` written in C: safe in any thread, inside the
  garbage collector, while the interpreter exits, and without effect in a forked child
- counting happens only where `ended` is called, by the one thread that owns the count
- a slab that was held while the process forked is frozen: the child may read it for ever
- a mapping lives as long as its last exporter, whatever was dropped before
"""

import ctypes
import functools
import mmap
import os
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["Exporter", "Holders", "Region", "rounded"]

Exporter: TypeAlias = "ctypes.Array[ctypes.c_ubyte]"
"""Owns the right to a range of bytes; at least as long as what was asked for."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    *[ctypes.c_int] * 3,
    ctypes.c_long,
]
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_LIBC.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_MAP_FAILED = ctypes.c_void_p(-1).value


class Region:
    """A shared mapping of a file descriptor, which may be closed afterwards.

    Not `mmap.mmap`: that keeps a duplicate of the descriptor for as long as it lives, so a trainer
    that keeps its batches would run out of descriptors.
    """

    def __init__(self, descriptor: int, nbytes: int) -> None:
        access = mmap.PROT_READ | mmap.PROT_WRITE
        address = _LIBC.mmap(None, nbytes, access, mmap.MAP_SHARED, descriptor, 0)
        if address == _MAP_FAILED:
            number = ctypes.get_errno()
            raise OSError(number, f"cannot map {nbytes} bytes: {os.strerror(number)}")
        if hasattr(mmap, "MADV_HUGEPAGE"):
            _LIBC.madvise(address, nbytes, mmap.MADV_HUGEPAGE)
        self.address: int = address
        self.nbytes = nbytes
        self._whole = (ctypes.c_ubyte * nbytes).from_address(address)
        weakref.finalize(self._whole, _LIBC.munmap, address, nbytes).atexit = False
        self.view = memoryview(self._whole).cast("B")
        """The bytes, for reading and writing at once; it holds the mapping, but no lease."""

    def export(self, offset: int, nbytes: int) -> Exporter:
        """A new exporter of at least `nbytes` bytes from `offset`."""
        length = min(rounded(nbytes), self.nbytes - offset)
        exporter: Exporter = _array_of(length).from_buffer(self._whole, offset)
        return exporter


class Holders:
    """Counts, for each slab of one owner, the exporters that live and the holds that last."""

    def __init__(self) -> None:
        self.frozen: set[int] = set()
        """Slabs that were held while the process forked. Never write to these again."""
        self._pid = os.getpid()
        self._counts: dict[int, int] = {}
        self._leases: dict[int, _Lease] = {}
        self._dead: deque[_Lease] = deque()
        self._released: list[int] = []
        _EVERY.add(self)

    def export(self, slab: int, region: Region, offset: int, nbytes: int) -> Exporter:
        """An exporter of part of a slab, which is held for as long as any alias of it lives."""
        # Counted before it exists: another thread may fork in between.
        self.hold(slab)
        exporter = region.export(offset, nbytes)
        # The callback is handed the lease itself, and no Python of ours runs in it.
        lease = _Lease(exporter, self._dead.append)
        lease.slab = slab
        self._leases[id(lease)] = lease
        return exporter

    def hold(self, slab: int) -> None:
        """Hold a slab until `release`."""
        self._counts[slab] = self._counts.get(slab, 0) + 1

    def release(self, slab: int) -> None:
        """End one `hold`."""
        left = self._counts[slab] - 1
        if left:
            self._counts[slab] = left
        else:
            del self._counts[slab]
            self._released.append(slab)

    def holds(self, slab: int) -> bool:
        """Whether anything of the slab was held when the dead were last counted."""
        return slab in self._counts

    def held(self) -> list[int]:
        """All slabs of which something is held."""
        return list(self._counts)

    @property
    def stirred(self) -> bool:
        """Whether anything ended since `ended` was called."""
        return bool(self._dead or self._released)

    def ended(self) -> list[int]:
        """Slabs whose last holder ended since the last call."""
        if os.getpid() != self._pid:
            return []
        while self._dead:
            lease = self._dead.popleft()
            del self._leases[id(lease)]
            self.release(lease.slab)
        if not self._released:
            return []
        ended = [slab for slab in dict.fromkeys(self._released) if slab not in self._counts]
        self._released.clear()
        return ended

    def freeze(self) -> None:
        """Mark every slab that is held now: a child is about to share it."""
        self.frozen.update(self._counts.copy())


def rounded(nbytes: int) -> int:
    """The next of eight steps an octave, so that sizes that vary make few different ones."""
    step = 1 << max(nbytes.bit_length() - 4, 3)
    return -(-nbytes // step) * step


class _Lease(weakref.ref[Any]):
    """A weak reference to an exporter that knows its slab."""

    __slots__ = ("slab",)
    slab: int


@functools.lru_cache(maxsize=1024)
def _array_of(length: int) -> Any:
    # About 15 µs to make and collected only as a cycle, hence kept, and hence `rounded`.
    return ctypes.c_ubyte * length


# Handlers of `fork` cannot be taken back, so there is one for the process and not one an owner.
_EVERY: "weakref.WeakSet[Holders]" = weakref.WeakSet()


def _freeze_all() -> None:
    for holders in list(_EVERY):
        holders.freeze()


_before_fork: Callable[..., None] | None = getattr(os, "register_at_fork", None)
if _before_fork is not None:
    _before_fork(before=_freeze_all)
