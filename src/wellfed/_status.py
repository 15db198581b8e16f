"""Status files: how a running loader is seen from another process of the same user.

    trainer   begin ── one file a loader: PID-TICKS-SERIAL.status
              write ── in place, in one call: length and checksum, then a TrainerStatus
              end   ── removed with the loader, or by whoever finds its process ended
    viewer    read_all ── those that are whole, ours, and of this version's kind

Guarantees
- folder and files are readable by their owner alone, and not used where they are not;
- a file that is half written, damaged, huge, a link or a pipe is passed over; reading never waits;
- nothing stays open between two writes, and no file outlives a process that ends as Python does.
"""

import contextlib
import os
import stat
import tempfile
import time
import zlib
from collections.abc import Iterator
from multiprocessing.util import Finalize
from pathlib import Path

from wellfed.errors import ReportError
from wellfed.records import LoaderStatus, TrainerStatus, decode, encode

__all__ = ["StatusFile", "folders", "lives", "read_all", "sweep"]

SUFFIX = ".status"
# A status of 500 workers is 60 kB.
MOST_BYTES = 1 << 20
_HEAD = 32
"""Bytes before the record: its length and its checksum, in hexadecimal."""


class StatusFile:
    """The status file of one loader; made at its first status. Called with each."""

    def __init__(self) -> None:
        self._pid = -1
        self._path: Path | None = None

    def __call__(self, status: LoaderStatus) -> None:
        """Write it.

        Raises:
            OSError: there is no room, say.
        """
        if self._pid != os.getpid():  # a forked child's loader is another one
            self._begin()
        if self._path is None:
            return
        data = encode(
            TrainerStatus(
                pid=self._pid,
                start_ticks=self._ticks,
                command=self._command,
                rank=os.environ.get("RANK", ""),
                loader=status,
            )
        )
        head = b"%08x %08x" % (len(data), zlib.crc32(data))
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self._path, flags, 0o600)
        try:
            os.write(fd, head.ljust(_HEAD) + data)
        finally:
            os.close(fd)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._path = None
        folder = _folder_to_write()
        ticks = _start_ticks(self._pid)
        if folder is None or ticks is None:
            return
        sweep(folder)
        self._ticks, self._command = ticks, _command()
        self._path = folder / f"{self._pid}-{ticks}-{time.monotonic_ns():x}{SUFFIX}"
        # Multiprocessing's, which also runs at the end of a child that multiprocessing started.
        Finalize(self, _remove, (self._path,), exitpriority=0)


def folders() -> tuple[Path, ...]:
    """Where status files of this user may lie: a session may know another place than a job."""
    uid = os.getuid()
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    places = [Path(runtime) / "wellfed"] if _is_private(Path(runtime or os.devnull), uid) else []
    usual = Path(f"/run/user/{uid}")
    places += [usual / "wellfed"] if _is_private(usual, uid) else []
    places.append(Path(tempfile.gettempdir()) / f"wellfed-{uid}")
    return tuple(dict.fromkeys(places))


def read_all(places: tuple[Path, ...] | None = None) -> tuple[TrainerStatus, ...]:
    """Every status that can be read, by process and loader; also those of ended processes.

    Args:
        places: the folders to look into; this user's if None.
    """
    found: list[TrainerStatus] = []
    for folder in folders() if places is None else places:
        for path in _files(folder):
            status = _read(path)
            if status is not None:
                found.append(status)
    return tuple(sorted(found, key=lambda one: (one.pid, one.loader.site)))


def sweep(folder: Path) -> None:
    """Remove what processes left that have ended; their names tell."""
    for path in _files(folder):
        pid, ticks, _ = path.name.split("-", 2)
        if not lives(int(pid), int(ticks)):
            _remove(path)


def lives(pid: int, start_ticks: int) -> bool:
    """Whether the process that started then still runs under that pid."""
    return _start_ticks(pid) == start_ticks


def _files(folder: Path) -> Iterator[Path]:
    """Those with a name that a status file has, in a folder that is this user's alone."""
    if not _is_private(folder, os.getuid()):
        return
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder)):
            parts = name.removesuffix(SUFFIX).split("-")
            if name.endswith(SUFFIX) and len(parts) == 3 and all(map(_is_number, parts[:2])):
                yield folder / name


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 20


def _read(path: Path) -> TrainerStatus | None:
    try:
        # Not to wait for whoever writes into a pipe.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode) or not _is_owners_alone(facts, os.getuid()):
            return None
        # Twice: it may be in the middle of being written.
        return _checked(os.pread(fd, MOST_BYTES, 0)) or _checked(os.pread(fd, MOST_BYTES, 0))
    except OSError:
        return None
    finally:
        os.close(fd)


def _checked(data: bytes) -> TrainerStatus | None:
    try:
        length, checksum = (int(word, 16) for word in data[:_HEAD].split())
    except ValueError:
        return None
    body = data[_HEAD : _HEAD + length]
    if len(body) != length or zlib.crc32(body) != checksum:
        return None
    try:
        return decode(body, TrainerStatus)
    except ReportError:  # of another version
        return None


def _folder_to_write() -> Path | None:
    """The first of the folders that can be had; None if none is ours alone."""
    for folder in folders():
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
        if _is_private(folder, os.getuid()):
            return folder
    return None


def _is_private(folder: Path, uid: int) -> bool:
    """Whether it is a folder, no link, of this user, and closed to all others."""
    try:
        facts = os.lstat(folder)
    except (OSError, ValueError):
        return False
    return stat.S_ISDIR(facts.st_mode) and _is_owners_alone(facts, uid)


def _is_owners_alone(facts: os.stat_result, uid: int) -> bool:
    return facts.st_uid == uid and not facts.st_mode & 0o077


def _start_ticks(pid: int) -> int | None:
    """When the process started; None if there is none, or it only waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[19]) if fields[0] not in "ZX" else None
    except (OSError, ValueError, IndexError):
        return None


def _command() -> tuple[str, ...]:
    try:
        words = Path("/proc/self/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return ()
    return tuple(word.decode(errors="replace")[:200] for word in words[:32])


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
