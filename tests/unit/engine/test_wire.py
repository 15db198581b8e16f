"""Messages arrive whole, in order, with their descriptors; a dead peer is an end, not a hang."""

import os
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from wellfed._engine import wire
from wellfed._engine.memory import make_memory
from wellfed._engine.parcel import INLINE_BYTES, pack
from wellfed._engine.slabs import Slabs
from wellfed._engine.wire import MOST_BYTES, Kind, Record, Task

RECORD = Record(
    kind=Kind.BATCH,
    why=0,
    part=0,
    parts=1,
    epoch=2,
    number=2**40,
    slab=7,
    offset=2**33,
    length=2**31,
    fetch_ns=2**41,
    cpu_ns=2**40,
    pack_ns=2**39,
    taken_ns=2**52,
    idle_ns=-1,
    letter_slab=-1,
    letter_offset=0,
    letter_length=0,
    streams_slab=-1,
    streams_offset=0,
    streams_length=0,
    used=(7, 2**31),
    fresh=(),
    retired=(3,),
    body=b"body",
)
TASK = Task(
    epoch=1,
    number=2,
    home=0,
    part=0,
    parts=1,
    moved=True,
    trial=False,
    position=8,
    index=[3, 1, 4],
)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = wire.pair()
    with one, other:
        yield one, other


def size_of(record: Record, fds: list[int]) -> int:
    one, other = wire.pair()
    with one, other:
        wire.send_record(one, record, fds)
        return len(other.recv(2 * MOST_BYTES))


def refused(source: socket.socket) -> bool:
    """Whether there is nothing to read, on a socket that does not wait."""
    source.setblocking(False)
    try:
        wire.read_task(source)
    except BlockingIOError:
        return True
    return False


# -- what is sent is what arrives


@pytest.mark.parametrize(
    "index",
    [[3, 1, 4], 5, ("a", 1), slice(2, 9, 3), torch.tensor([2, 7]), np.array([1, 2]), {"k": None}],
    ids=str,
)
def test_a_task_arrives_as_it_was_sent(ends: Any, index: Any) -> None:
    assert wire.send_task(ends[0], TASK._replace(index=index))

    task = wire.read_task(ends[1])

    assert task is not None
    assert task[:-1] == TASK[:-1]
    assert type(task.index) is type(index)
    assert repr(task.index) == repr(index)


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        RECORD._replace(slab=-1, used=(), retired=(), body=b""),
        RECORD._replace(kind=Kind.REFUSED, why=5, part=63, parts=64),
        RECORD._replace(used=tuple(range(40)), retired=tuple(range(9)), body=bytes(400)),
        RECORD._replace(letter_length=6, letter=b"letter"),
        RECORD._replace(letter_slab=2**31 - 1, letter_offset=2**33, letter_length=2**20),
        RECORD._replace(streams_length=7, streams=b"streams", letter_length=6, letter=b"letter"),
        RECORD._replace(streams_slab=2**31 - 1, streams_offset=2**33, streams_length=2**16 - 1),
    ],
    ids=[
        *("a batch", "nothing in slabs", "a refusal", "many slabs", "a letter", "one in a slab"),
        *("streams and a letter", "streams in a slab"),
    ],
)
def test_a_record_arrives_as_it_was_sent(ends: Any, record: Record) -> None:
    wire.send_record(ends[0], record, [])

    assert wire.read_record(ends[1]) == (record, [])


def test_messages_arrive_one_by_one_and_in_order(ends: Any) -> None:
    for number in range(20):
        wire.send_task(ends[0], TASK._replace(number=number))

    tasks = [wire.read_task(ends[1]) for _ in range(20)]

    assert [task and task.number for task in tasks] == list(range(20))
    assert refused(ends[1])


def test_a_usual_batchs_record_is_at_most_512_bytes() -> None:
    """The most that a small parcel puts in it, with the slabs of a batch and one that is new."""
    slabs = Slabs()
    slabs.begin()
    batch = [torch.zeros(64), torch.arange(8), ["a"] * 8, {"k": torch.zeros(4)}]
    parcel = pack(batch, slabs)
    slabs.close()
    fd = make_memory(1)

    small = RECORD._replace(body=parcel.inline or bytes(INLINE_BYTES), used=(1,), retired=())
    in_slabs = RECORD._replace(body=b"", used=(1, 2, 3), fresh=((3, 2**32),), retired=(4,))
    sizes = size_of(small, []), size_of(in_slabs, [fd])
    os.close(fd)

    assert max(sizes) <= 512


# -- descriptors


def test_descriptors_arrive_with_their_record_and_are_closed_on_exec(ends: Any) -> None:
    fds = [make_memory(1 + number) for number in range(3)]
    record = RECORD._replace(fresh=tuple((number, 1 + number) for number in range(3)))
    wire.send_record(ends[0], record, fds)
    for fd in fds:
        os.close(fd)

    read = wire.read_record(ends[1])

    assert read is not None
    arrived, received = read
    assert arrived == record
    assert [os.fstat(fd).st_size for fd in received] == [1, 2, 3]
    assert not any(os.get_inheritable(fd) for fd in received)
    for fd in received:
        os.close(fd)


# -- long messages


def long_bodies() -> list[int]:
    return [MOST_BYTES - 200, MOST_BYTES, MOST_BYTES + 1, 5_000_000]


@pytest.mark.parametrize("nbytes", long_bodies())
def test_a_record_may_be_of_any_length(ends: Any, nbytes: int) -> None:
    before = os.listdir("/proc/self/fd")
    fd = make_memory(3)
    record = RECORD._replace(body=os.urandom(nbytes), fresh=((1, 3),))
    wire.send_record(ends[0], record, [fd])
    os.close(fd)

    read = wire.read_record(ends[1])

    assert read is not None
    arrived, received = read
    assert arrived == record
    assert [os.fstat(one).st_size for one in received] == [3]
    os.close(received[0])
    assert os.listdir("/proc/self/fd") == before


def test_a_task_may_have_any_number_of_indices(ends: Any) -> None:
    index = list(range(200_000))
    assert wire.send_task(ends[0], TASK._replace(index=index))

    assert wire.read_task(ends[1]) == TASK._replace(index=index)


def test_long_messages_do_without_anonymous_memory(
    ends: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blocked(*_: Any) -> int:
        raise OSError(1, "not permitted")

    monkeypatch.setattr(os, "memfd_create", blocked)
    record = RECORD._replace(body=bytes(range(256)) * 400)
    wire.send_record(ends[0], record, [])

    assert wire.read_record(ends[1]) == (record, [])


# -- ends


def test_a_closed_connection_is_an_end(ends: Any) -> None:
    ends[0].close()

    assert wire.read_task(ends[1]) is None
    assert wire.read_record(ends[1]) is None


def test_what_was_sent_before_the_end_arrives(ends: Any) -> None:
    wire.send_record(ends[0], RECORD, [])
    ends[0].close()

    assert wire.read_record(ends[1]) == (RECORD, [])
    assert wire.read_record(ends[1]) is None


def test_what_a_peer_sent_arrives_though_it_died_with_messages_unread(ends: Any) -> None:
    """The kernel then says ECONNRESET first, before what there is to read."""
    wire.send_task(ends[0], TASK)
    wire.send_record(ends[1], RECORD, [])
    ends[1].close()

    assert wire.read_record(ends[0]) == (RECORD, [])
    assert wire.read_record(ends[0]) is None


def test_sending_to_a_dead_peer_is_a_broken_pipe(ends: Any) -> None:
    ends[1].close()

    with pytest.raises(BrokenPipeError):
        wire.send_task(ends[0], TASK)
    with pytest.raises(BrokenPipeError):
        wire.send_record(ends[0], RECORD, [])


# -- full sockets


def test_a_full_socket_takes_no_task_and_takes_it_later(ends: Any) -> None:
    ends[0].setblocking(False)
    sent = 0
    while wire.send_task(ends[0], TASK._replace(number=sent)):
        sent += 1
        assert sent < 100_000

    numbers = []
    ends[1].setblocking(False)
    for _ in range(sent):
        task = wire.read_task(ends[1])
        assert task is not None
        numbers.append(task.number)

    assert numbers == list(range(sent))
    assert wire.send_task(ends[0], TASK)


def test_a_long_task_that_finds_the_socket_full_leaks_no_descriptor(ends: Any) -> None:
    ends[0].setblocking(False)
    while wire.send_task(ends[0], TASK):
        pass
    before = os.listdir("/proc/self/fd")

    assert not wire.send_task(ends[0], TASK._replace(index=bytes(MOST_BYTES + 1)))
    assert os.listdir("/proc/self/fd") == before


def test_an_index_that_cannot_be_pickled_raises_and_sends_nothing(ends: Any) -> None:
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        wire.send_task(ends[0], TASK._replace(index=lambda: None))

    assert refused(ends[1])
