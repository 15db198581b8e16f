"""Reads the small text files of /proc and /sys, below any root, and says why where it cannot.

Part of the sampler's process too: imports the standard library only.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Missing", "Unreadable", "locate", "read_number", "read_text", "understanding"]

# All but the longest files of /proc in one call.
CHUNK_BYTES = 64 * 1024


class Unreadable(Exception):
    """Something could not be read; the message is fit for `Fact.how` and `Gauge.how`."""


class Missing(Unreadable):
    """There is no such file. Often normal: another cgroup version, another kernel."""


def locate(root: Path, path: str) -> str:
    """Where the absolute `path` lies below `root`."""
    return os.path.join(root, path.lstrip("/"))


def read_text(root: Path, path: str) -> str:
    """The text of the file at the absolute `path` below `root`.

    Raises:
        Missing: no such file, or its process is gone.
        Unreadable: it is there and cannot be read.
    """
    try:
        fd = os.open(locate(root, path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _read_all(fd).decode(errors="replace")
        finally:
            os.close(fd)
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError) as error:
        raise Missing(f"cannot read {path}: {error.strerror}") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        reason = getattr(error, "strerror", None) or str(error)
        raise Unreadable(f"cannot read {path}: {reason}") from error


def _read_all(fd: int) -> bytes:
    # Half the time of a file object, which the sampler would spend a hundred times a second.
    data = b""
    while chunk := os.read(fd, CHUNK_BYTES):
        data += chunk
    return data


def read_number(root: Path, path: str) -> int:
    """The one whole number that the file holds.

    Raises:
        Missing: no such file.
        Unreadable: it cannot be read, or holds something else.
    """
    text = read_text(root, path)
    with understanding(path):
        return int(text)


@contextmanager
def understanding(path: str) -> Iterator[None]:
    """Turn the errors of parsing what `path` held into `Unreadable`."""
    try:
        yield
    except (ValueError, LookupError, ArithmeticError) as error:
        raise Unreadable(f"cannot make sense of {path}: {error}") from error
