"""Memory to share without a name: room for it is found out before it is written to."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable

from wellfed.errors import SharedMemoryFull

__all__ = ["make_memory"]

_NO_ROOM = (errno.ENOSPC, errno.ENOMEM, errno.EDQUOT, errno.EFBIG)


def make_memory(nbytes: int) -> int:
    """A descriptor of that many bytes of memory: anonymous, or else an unlinked file.

    The room is allocated here, so its want is an error here and never a SIGBUS at a later write.

    Raises:
        SharedMemoryFull: neither anonymous memory, /dev/shm nor the temp folder has the room.
        OSError: the process may open no more files.
    """
    refusals: list[OSError] = []
    for place in (_anonymous, _in_shm, _in_temp):
        try:
            return _allocated(place(), nbytes)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            refusals.append(error)
    full = [error for error in refusals if error.errno in _NO_ROOM]
    cause = (full or refusals)[0]
    raise SharedMemoryFull(
        f"no room for {nbytes / 2**20:.1f} MiB of memory to hand a batch over in "
        f"({os.strerror(cause.errno or 0)}). Use smaller batches, fewer workers or a lower "
        "prefetch_factor, or give the container more memory."
    ) from cause


def _allocated(descriptor: int, nbytes: int) -> int:
    try:
        try:
            os.posix_fallocate(descriptor, 0, nbytes)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise
            # A sandbox may know no fallocate; then the size is all that can be had.
            os.ftruncate(descriptor, nbytes)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _anonymous() -> int:
    make: Callable[[str, int], int] | None = getattr(os, "memfd_create", None)
    if make is None:
        raise OSError(errno.ENOSYS, "no anonymous memory here")
    return make("wellfed", os.MFD_CLOEXEC)


def _in_shm() -> int:
    return _unlinked("/dev/shm")


def _in_temp() -> int:
    return _unlinked(tempfile.gettempdir())


def _unlinked(folder: str) -> int:
    descriptor, path = tempfile.mkstemp(prefix="wellfed-", dir=folder)
    with contextlib.suppress(OSError):
        os.unlink(path)
    return descriptor
