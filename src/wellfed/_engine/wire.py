"""The messages between the trainer and its workers.

    trainer ── Task ──►  worker's own socket, or the one that all workers read from
    worker  ── Record ─► trainer, on the worker's own socket

The sockets keep messages apart (SOCK_SEQPACKET) and carry file descriptors. One message is one
system call on either side: no thread feeds a queue and no lock is shared between processes, so
that a process which is killed at any moment leaves nothing behind that others would wait for.
"""

import array
import os
import pickle
import socket
import struct
from collections.abc import Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

from wellfed._engine.memory import make_memory

__all__ = [
    "LEAVE",
    "MOST_BYTES",
    "NO_TASK",
    "RECORD_BYTES",
    "Kind",
    "Record",
    "Task",
    "pair",
    "read_record",
    "read_task",
    "room_for_letter",
    "send_record",
    "send_task",
    "withdraw",
]

# A message must fit the socket's buffer, whose default is 208 KiB; longer ones travel as memory.
MOST_BYTES = 64 * 1024
RECORD_BYTES = 512
"""A record in which nothing was raised is no longer than this: one write to any pipe."""
_MOST_FDS = 64
_FDS_SPACE = socket.CMSG_SPACE(_MOST_FDS * array.array("i").itemsize)

_PLAIN, _LONG = b"\0", b"\1"


class _Socket(socket.socket):
    """Closed without a ResourceWarning where the garbage collector comes before its owner."""

    def __del__(self) -> None:
        self.close()


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets that keep messages apart."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return _Socket(fileno=one.detach()), _Socket(fileno=other.detach())


class Task(NamedTuple):
    """What a worker is asked to make, or to begin."""

    epoch: int
    number: int
    home: int
    """The logical worker whose batch it is."""
    part: int
    parts: int
    """Into how many its batch is divided; 0: nothing is made, see `stream_states`."""
    moved: bool
    """Whether it may be made by a worker that is not its home, and is refused where it then
    turns out to depend on more than its indices."""
    trial: bool
    """Whether to look closely at what it depends on, and to say so."""
    position: int
    """Where in the epoch its first sample stands."""
    index: Any
    """What torch's fetcher takes; for a part, its share of the indices."""


NO_TASK = Task(2**32 - 1, -1, -1, 0, 1, False, False, -1, None)
"""Nothing to make: the worker is to give up memory that it may not have any more."""

LEAVE = Task(-1, -1, -1, -1, -1, False, False, -2, None)
"""Stands for a task: the worker is to end, once all that it has taken is made."""


def send_task(to: socket.socket, task: Task) -> bool:
    """Send without waiting.

    Returns:
        Whether it was sent; not if the socket's buffer is full.

    Raises:
        Exception: whatever the index raises when it is pickled.
    """
    return _send(to, _PLAIN, _pickled(task), ())


def _pickled(task: Task) -> bytes:
    index = task.index
    # Setting up a ForkingPickler takes longer than pickling, and nothing here needs it.
    if type(index) is int or (type(index) is list and index and type(index[0]) is int):
        try:
            return pickle.dumps(tuple(task), pickle.HIGHEST_PROTOCOL)
        except Exception:  # of other entries of the list
            pass
    return bytes(ForkingPickler.dumps(tuple(task)))


def read_task(source: socket.socket) -> Task | None:
    """The next message, or None at the end of the connection.

    Raises:
        BlockingIOError: the socket does not wait, and there is none.
    """
    message, fds = _receive(source)
    if not message:
        return None
    return Task(*pickle.loads(_body(message, fds)))


def withdraw(source: socket.socket) -> bool:
    """Drop the next task of a socket that does not wait, unread; whether there was one."""
    try:
        message, fds = _receive(source)
    except BlockingIOError:
        return False
    for fd in fds:
        os.close(fd)
    return bool(message)


class Kind:
    """What a record says."""

    BATCH = 0
    """A part of a batch is made, and where it lies."""
    RAISED = 1
    """The user's code raised; the body is the pickled exception."""
    EXHAUSTED = 2
    """The worker's iterable dataset has ended."""
    REFUSED = 3
    """It was asked for away from its home, and depends on more than its indices."""


class Record(NamedTuple):
    """What a worker says of a part of a batch."""

    kind: int
    why: int
    """What else than its indices it depends on, as bits of `away`; 0 where that was not seen."""
    part: int
    parts: int
    epoch: int
    number: int
    slab: int
    """Where the parcel lies; -1: in the body."""
    offset: int
    length: int
    fetch_ns: int
    """Wall time of fetching and collating."""
    cpu_ns: int
    """CPU time of the worker's thread meanwhile."""
    pack_ns: int
    """Wall time of packing it."""
    taken_ns: int
    """When the worker took the task; monotonic, the same clock in every process."""
    idle_ns: int
    """How long it had waited for one; -1 where its threads had others."""
    letter_slab: int
    """Where the letter about its making lies; -1: in the record itself."""
    letter_offset: int
    letter_length: int
    """0: there is none."""
    streams_slab: int
    """Where that lies which rides with the batch, see `stream_states`; -1: in the record."""
    streams_offset: int
    streams_length: int
    """0: nothing does."""
    used: tuple[int, ...]
    """Slabs that it occupies."""
    fresh: tuple[tuple[int, int], ...]
    """Slabs that the trainer has not met: number and size; their descriptors come with them."""
    retired: tuple[int, ...]
    """Slabs that the worker has let go of: the trainer is to do so too."""
    body: bytes
    letter: bytes = b""
    """What the maker noted, where it is in the record itself."""
    streams: bytes = b""
    """What rides with the batch, where it is in the record itself."""


_HEAD = struct.Struct("<BBHHIqiqIqqqqqiqIiqIHHH")
_NUMBERS = 20
"""How many fields of a record are plain numbers."""
_FRESH = struct.Struct("<IQ")


def send_record(to: socket.socket, record: Record, fds: Sequence[int]) -> None:
    """Send, and wait while the buffer is full."""
    counts = len(record.used), len(record.fresh), len(record.retired)
    slabs = record.used + record.retired
    parts = [_HEAD.pack(*record[:_NUMBERS], *counts), struct.pack(f"<{len(slabs)}I", *slabs)]
    parts += [_FRESH.pack(*one) for one in record.fresh]
    _send(to, _PLAIN, b"".join([*parts, record.letter, record.streams, record.body]), fds)


def room_for_letter(used: int, fresh: int, retired: int, body: bytes) -> int:
    """Bytes that a letter may have in a record with so many slabs; else it goes to a slab."""
    rest = 1 + _HEAD.size + 4 * (used + retired) + _FRESH.size * fresh + len(body)
    return RECORD_BYTES - rest


def read_record(source: socket.socket) -> tuple[Record, list[int]] | None:
    """The next record and the descriptors that came with it; None at the end of the connection.

    Raises:
        BlockingIOError: there is none yet.
    """
    message, fds = _receive(source)
    if not message:
        return None
    long = message[:1] == _LONG
    body = _body(message, fds[-1:] if long else [])
    head = _HEAD.unpack_from(body)
    used, fresh, retired = head[_NUMBERS:]
    slabs = struct.unpack_from(f"<{used + retired}I", body, _HEAD.size)
    at = _HEAD.size + 4 * (used + retired)
    end = at + fresh * _FRESH.size
    met = tuple(_FRESH.iter_unpack(body[at:end]))
    numbers = head[:_NUMBERS]
    letter_slab, _, length, streams_slab, _, streams_length = numbers[-6:]
    streams_at = end + length if letter_slab < 0 else end
    begin = streams_at + streams_length if streams_slab < 0 else streams_at
    inside = body[begin:], body[end:streams_at], body[streams_at:begin]
    record = Record._make((*numbers, slabs[:used], met, slabs[used:], *inside))
    return record, fds[:-1] if long else fds


def _send(to: socket.socket, mark: bytes, body: bytes, fds: Sequence[int]) -> bool:
    long = -1
    if len(body) > MOST_BYTES:
        long = make_memory(len(body))
        with open(long, "r+b", closefd=False) as file:
            file.write(body)
        mark, body, fds = _LONG, b"", [*fds, long]
    try:
        if fds:
            socket.send_fds(to, [mark + body], list(fds))
        else:
            to.send(mark + body)
    except BlockingIOError:
        return False
    finally:
        if long >= 0:
            os.close(long)
    return True


def _receive(source: socket.socket) -> tuple[bytes, list[int]]:
    try:
        message, ancillary, _, _ = source.recvmsg(
            MOST_BYTES + 4096, _FDS_SPACE, socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionResetError:
        # Said once, where the other side was killed with messages unread: what it sent is there.
        return _receive(source)
    if not ancillary:
        return message, []
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return message, fds.tolist()


def _body(message: bytes, fds: list[int]) -> bytes:
    if message[:1] == _PLAIN:
        return message[1:]
    try:
        size = os.fstat(fds[0]).st_size
        return os.pread(fds[0], size, 0)
    finally:
        os.close(fds[0])
