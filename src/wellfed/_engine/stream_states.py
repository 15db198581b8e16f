"""Where the random streams of a logical worker stand, as bytes that ride with its batches.

    worker    Streams.moved() ─► Made.rides ─► the batch's slab or its record ─► trainer
    trainer   StreamStates: after each home's last batch that arrived, and that was delivered
    worker    Streams.go_on(home, states) ◄─ wire.Task, as made by `streams_task`

To go on with a home in another process: start it with `Crew.add(hosted)` as usual, which seeds its
streams and calls `worker_init_fn`; then, before any task of that home, send it

    states = stream.standing.streams.last_arrived(home)  # b"" where nothing was drawn yet
    if states: crew.send(streams_task(home, states), process)

No record answers it. States come only with batches made at home that moved the streams, and not at
all where draws depend on positions (`Setup.keeps_streams`).
"""

import struct
from collections import deque
from typing import NamedTuple

from wellfed._engine.wire import Task

__all__ = [
    "StreamState",
    "StreamStates",
    "packed",
    "parted",
    "riding",
    "streams_task",
    "unpacked",
]

WORDS_BYTES = 4 * 625
"""A Mersenne Twister: 624 words and where it stands among them."""

_VERSION = 1
_HEAD = struct.Struct("<BBddH")
_LENGTH = struct.Struct("<I")
_PYTHON_HALF, _NUMPY_HALF, _NUMPY = 1, 2, 4


class StreamState(NamedTuple):
    """Python's, NumPy's legacy and torch's CPU generator."""

    python: bytes
    """The position, then the words."""
    python_half: float | None
    """The second half of a pair of normal numbers, if it was not asked for yet."""
    numpy: bytes
    """The words, then the position; empty without NumPy, and where its global generator is not
    the Mersenne Twister that it begins with."""
    numpy_half: float | None
    torch: bytes
    """As `torch.get_rng_state` has it."""


def packed(state: StreamState) -> bytes:
    """The state in some 10 KB."""
    flags = _PYTHON_HALF * (state.python_half is not None)
    flags |= _NUMPY_HALF * (state.numpy_half is not None) | _NUMPY * bool(state.numpy)
    halves = state.python_half or 0.0, state.numpy_half or 0.0
    head = _HEAD.pack(_VERSION, flags, *halves, len(state.torch))
    return b"".join((head, state.python, state.numpy, state.torch))


def unpacked(raw: bytes) -> StreamState:
    """The state that `packed` was given.

    Raises:
        ValueError: these are not such bytes; the message says why.
    """
    if len(raw) < _HEAD.size:
        raise ValueError(f"a state of random streams has more than {len(raw)} bytes")
    version, flags, python_half, numpy_half, torch_bytes = _HEAD.unpack_from(raw)
    if version != _VERSION:
        raise ValueError(f"a state of random streams has version {_VERSION}, not {version}")
    numpy_bytes = WORDS_BYTES if flags & _NUMPY else 0
    ends = _HEAD.size + WORDS_BYTES, _HEAD.size + WORDS_BYTES + numpy_bytes
    if len(raw) != ends[1] + torch_bytes:
        raise ValueError(
            f"this state of random streams has {ends[1] + torch_bytes} bytes, not {len(raw)}"
        )
    return StreamState(
        python=raw[_HEAD.size : ends[0]],
        python_half=python_half if flags & _PYTHON_HALF else None,
        numpy=raw[ends[0] : ends[1]],
        numpy_half=numpy_half if flags & _NUMPY_HALF else None,
        torch=raw[ends[1] :],
    )


def riding(streams: bytes, held: bytes) -> bytes:
    """What rides with a batch: where its streams stand, and what its dataset says of itself."""
    return _LENGTH.pack(len(streams)) + streams + held


def parted(raw: bytes) -> tuple[bytes, bytes]:
    """The two that `riding` was given."""
    (length,) = _LENGTH.unpack_from(raw)
    end = _LENGTH.size + length
    return raw[_LENGTH.size : end], raw[end:]


def streams_task(home: int, states: bytes) -> Task:
    """Has a worker go on with the streams of a home from there; no record answers it."""
    return Task(-1, -1, home, part=0, parts=0, moved=False, trial=False, position=-1, index=states)


class StreamStates:
    """The trainer's side: where each home's streams stood after its batches.

    Batches of a home arrive, and are delivered, in the order in which they drew.
    """

    def __init__(self, begun: dict[int, bytes] | None = None) -> None:
        """No batch has come yet.

        Args:
            begun: where the homes' streams began; those that are missing were seeded.
        """
        self._arrived: dict[int, bytes] = dict(begun or {})
        self._delivered: dict[int, bytes] = dict(begun or {})
        self._pending: dict[int, deque[tuple[int, bytes]]] = {}
        """Of each home: batches of this epoch that moved its streams and are not delivered."""

    def arrived(self, home: int, number: int, states: bytes, *, current: bool = True) -> None:
        """A batch came whose making had moved the streams to there.

        Args:
            home: whose it is.
            number: of the batch.
            states: packed.
            current: whether it is of this epoch; one of an epoch that was left draws as well.
        """
        self._arrived[home] = states
        if current:
            self._pending.setdefault(home, deque()).append((number, states))
        else:
            self._delivered[home] = states

    def delivered(self, home: int, number: int) -> None:
        """A batch is handed over."""
        pending = self._pending.get(home)
        while pending and pending[0][0] <= number:
            _, self._delivered[home] = pending.popleft()

    def begin_epoch(self) -> None:
        """What was not delivered will not be; its draws have happened all the same."""
        self._pending.clear()
        self._delivered = dict(self._arrived)

    def last_arrived(self, home: int) -> bytes:
        """After the last batch that came; empty where the home's streams are as seeded."""
        return self._arrived.get(home, b"")

    def last_delivered(self) -> dict[int, bytes]:
        """Of each home whose streams have moved: where they stood after its last delivered batch.

        At the beginning of an epoch, after all that was made for those before.
        """
        return dict(self._delivered)
