import collections
import gc
import os
import pickle
import socket
import threading
import warnings
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import resource_sharer
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from describing import describe
from wellfed._engine.leases import Shelf
from wellfed._engine.parcel import INLINE_BYTES, Parcel, pack, unpack
from wellfed._engine.slabs import Slabs
from wiring import Wire, wired


@pytest.fixture
def wire() -> Iterator[Wire]:
    with wired() as wire:
        yield wire


class Point(NamedTuple):
    x: torch.Tensor
    y: Any


@dataclass
class Record:
    name: str
    boxes: torch.Tensor


class Marked(torch.Tensor):
    note: str


class Functional(torch.Tensor):
    """Like torchvision's: every operation passes through the class."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs or {})


class Stamped(np.ndarray[Any, Any]):
    """An array of another class."""


class Refusing:
    def __reduce__(self) -> Any:
        raise ValueError("not me")


class Exploding:
    def __reduce__(self) -> Any:
        return explode, ()


def explode() -> None:
    raise ValueError("not here")


def marked(note: str = "kept") -> Marked:
    value = torch.arange(2000.0).as_subclass(Marked)
    value.note = note
    return value


def pair() -> list[torch.Tensor]:
    base = torch.arange(3000.0)
    return [base[10:2000], base[1000:].view(20, 100).t(), base]


def twice() -> list[torch.Tensor]:
    one = torch.ones(2000)
    return [one, one]


def read_only() -> Any:
    array = np.arange(5000)
    array.flags.writeable = False
    return array


def by_dtype(name: str) -> torch.Tensor:
    return torch.arange(64, dtype=torch.uint8).view(getattr(torch, name))


def typed(tensor: Any) -> Any:
    storage = tensor._typed_storage()
    return [type(storage).__name__, storage.dtype, storage._untyped_storage]


def quietly(make: Any, *arguments: Any, **named: Any) -> Any:
    """Layouts that torch warns of when first used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(*arguments, **named)


DTYPES = [
    "float8_e4m3fn",
    "float8_e5m2",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "complex32",
    "complex64",
    "complex128",
]

AS_TORCH: dict[str, Any] = {
    "a tensor": lambda: torch.randn(50, 50),
    "a small tensor": lambda: torch.randn(3),
    "a number": lambda: torch.tensor(3.5),
    "no element": lambda: torch.zeros(0, 3),
    "no element of something": lambda: torch.randn(4, 5)[:, 2:2],
    "bool": lambda: torch.tensor([True, False]),
    "expanded": lambda: torch.randn(1, 7).expand(4000, 7),
    "transposed": lambda: torch.randn(70, 80).t(),
    "strided": lambda: torch.randn(70, 80)[::2, ::3],
    "overlapping": lambda: torch.randn(100).as_strided((5, 5), (2, 1), 3),
    "channels last": lambda: torch.randn(2, 3, 30, 30).contiguous(
        memory_format=torch.channels_last
    ),
    "aliases": pair,
    "one object twice": twice,
    "storage and its tensor": lambda: (lambda t: [t[5:], t.untyped_storage()])(torch.ones(3000)),
    "typed storage": lambda: typed(torch.ones(3)),
    "two dtypes on one storage": lambda: (lambda t: [t, t.view(torch.int32)])(torch.ones(3000)),
    "leaf with gradient": lambda: torch.ones(2000, requires_grad=True),
    "parameter": lambda: torch.nn.Parameter(torch.ones(2000)),
    "frozen parameter": lambda: torch.nn.Parameter(torch.arange(5), requires_grad=False),
    "subclass with attributes": marked,
    "functional subclass": lambda: torch.ones(2000).as_subclass(Functional),
    "subclass that shares": lambda: (lambda t: [t, t.as_subclass(Functional)])(torch.ones(2000)),
    "sparse": lambda: torch.eye(60).to_sparse(),
    "sparse, not coalesced": lambda: torch.sparse_coo_tensor(
        torch.tensor([[1, 1]]), torch.ones(2), (4,)
    ),
    "csr": lambda: quietly(torch.eye(60).to_sparse_csr),
    "bsr": lambda: quietly(torch.eye(60).to_sparse_bsr, (2, 2)),
    "jagged": lambda: torch.nested.nested_tensor(
        [torch.ones(2), torch.ones(3)], layout=torch.jagged
    ),
    "nested": lambda: quietly(torch.nested.nested_tensor, [torch.ones(900), torch.ones(300)]),
    "meta": lambda: torch.empty(3, 4, device="meta"),
    "array": lambda: np.arange(3000).reshape(30, 100),
    "small array": lambda: np.arange(3),
    "transposed array": lambda: np.arange(3000.0).reshape(30, 100).T,
    "strided array": lambda: np.arange(30000.0)[::3],
    "read-only array": read_only,
    "array of objects": lambda: np.array([{"a": 1}, None], dtype=object),
    "array of strings": lambda: np.array(["a", "bcd"] * 1000),
    "structured array": lambda: np.zeros(900, dtype=[("a", "i4"), ("b", "f8")]),
    "subclass of array": lambda: np.arange(3000.0).view(Stamped),
    "masked array": lambda: np.ma.masked_array(np.arange(900), mask=[True, False] * 450),
    "numpy number": lambda: np.float32(1.5),
    "bytes": lambda: b"x" * 9000,
    "bytearray": lambda: [bytes(bytearray(b"x" * 9000))],
    "strings": lambda: ["a", "b" * 9000, ""],
    "nothing": lambda: None,
    "nested structure": lambda: {"a": [torch.ones(3), (1, "x")], "b": {"c": None}},
    "ordered": lambda: collections.OrderedDict(b=torch.ones(1), a=2),
    "default": lambda: collections.defaultdict(list, a=[torch.ones(2)]),
    "named tuple": lambda: Point(torch.ones(2000), [1]),
    "dataclass": lambda: Record("n", torch.ones(4, 4)),
    "path": lambda: [Path("/a/b"), {1, 2}, 1 << 80],
    **{name: (lambda name=name: by_dtype(name)) for name in DTYPES},
}


def by_torch(value: Any) -> Any:
    """What torch's transport delivers."""
    try:
        return quietly(pickle.loads, ForkingPickler.dumps(value))
    finally:
        resource_sharer.stop()


@pytest.mark.parametrize("make", AS_TORCH.values(), ids=AS_TORCH)
@pytest.mark.parametrize("private", [False, True])
def test_what_arrives_is_what_torch_delivers(
    wire: Wire, make: Any, private: bool, request: pytest.FixtureRequest
) -> None:
    value = quietly(make)
    arrived = quietly(wire.cross, value, private=private)

    # First ours: torch moves the storages of what it sends into shared memory of its own.
    # Of arrays, pickle keeps neither gaps nor that they are read-only.
    if "array" not in request.node.name:
        assert describe(arrived) == describe(value)
    assert describe(arrived) == describe(by_torch(value))


def conjugates(t: torch.Tensor) -> list[torch.Tensor]:
    return [t, t.conj(), t.conj().imag]


BETTER_THAN_TORCH: dict[str, Any] = {
    "conjugate": lambda: torch.tensor([1 - 2j, 3j]).conj(),
    "negated": lambda: torch.tensor([1 - 2j, 3j]).conj().imag,
    "conjugated and negated": lambda: conjugates(torch.ones(2000, dtype=torch.complex64) * 2j),
    "sparse with gradient": lambda: torch.eye(3).to_sparse().requires_grad_(),
    "csr with gradient": lambda: quietly(torch.eye(3).to_sparse_csr).requires_grad_(),
    "nested with gradient": lambda: quietly(
        torch.nested.nested_tensor, [torch.ones(2), torch.ones(3)], requires_grad=True
    ),
    "quantized": lambda: quietly(
        torch.quantize_per_tensor, torch.randn(40, 40), 0.1, 2, torch.qint8
    ),
}


@pytest.mark.parametrize("make", BETTER_THAN_TORCH.values(), ids=BETTER_THAN_TORCH)
def test_what_torch_gets_wrong_arrives_as_it_was(wire: Wire, make: Any) -> None:
    value = make()

    assert describe(quietly(wire.cross, value)) == describe(value)


def test_a_view_ships_only_what_it_looks_at(wire: Wire) -> None:
    whole = torch.arange(1_000_000)
    parcel = wire.pack(whole[500_001:500_005])
    arrived = unpack(parcel, wire.shelf)

    assert arrived.tolist() == [500_001, 500_002, 500_003, 500_004]
    assert arrived.untyped_storage().nbytes() <= 48
    assert wire.slabs.bytes == 0


def test_what_is_tiny_needs_no_slab(wire: Wire) -> None:
    parcel = wire.pack({"label": torch.tensor([1, 2]), "name": "x"})

    assert parcel.used == ()
    assert len(parcel.inline) <= INLINE_BYTES
    assert wire.slabs.bytes == 0


def test_small_leaves_do_not_keep_the_slab(wire: Wire) -> None:
    image, labels = wire.cross([torch.zeros(5000), torch.ones(1000)])
    del image

    assert wire.give_back() == [0]
    wire.overwrite(20_000)
    assert labels.sum() == 1000


def test_a_private_batch_frees_its_slab_at_once(wire: Wire) -> None:
    value = [torch.arange(5000), np.arange(5000), pair()]
    arrived = wire.cross(value, private=True)

    assert wire.give_back() == [0]
    wire.overwrite(40_000)
    assert describe(arrived) == describe(value)


def test_what_was_collated_into_the_slab_is_not_copied(wire: Wire) -> None:
    wire.slabs.begin()
    room = wire.slabs.reserve(8 * 1000)
    batch = torch.frombuffer(room.exporter, dtype=torch.int64, count=1000)
    batch[:] = torch.arange(1000)
    parcel = pack([batch, batch[500:]], wire.slabs)
    wire.tell()
    batch[0] = 77  # seen by the trainer only if the bytes are the same
    arrived = unpack(parcel, wire.shelf)

    assert parcel.inline
    assert parcel.used == (room.slab,)
    assert arrived[0][0] == 77
    assert arrived[0][1:].tolist() == list(range(1, 1000))
    assert arrived[1].untyped_storage().data_ptr() == arrived[0].untyped_storage().data_ptr()


@pytest.mark.parametrize("length", [30, 3000])
def test_a_batch_cannot_grow_out_of_its_slab(wire: Wire, length: int) -> None:
    arrived = wire.cross(torch.ones(length))

    assert arrived.resize_(10).sum() == 10
    with pytest.raises(RuntimeError, match="not resizable"):
        arrived.resize_(10_000)


def test_a_batch_that_is_sent_on_stays_as_it_was(wire: Wire) -> None:
    arrived = wire.cross(torch.arange(3000))
    again = by_torch(arrived)
    wire.overwrite(24_000)

    assert torch.equal(arrived, torch.arange(3000))
    assert torch.equal(again, arrived)


def test_a_batch_can_be_put_into_shared_memory(wire: Wire) -> None:
    arrived = wire.cross(torch.arange(3000))
    arrived.share_memory_()
    wire.overwrite(24_000)

    assert arrived.is_shared()
    assert torch.equal(arrived, torch.arange(3000))


def test_writing_to_a_batch_leaves_the_workers_data_alone(wire: Wire) -> None:
    data = torch.zeros(5000)
    wire.cross(data).fill_(1)

    assert data.sum() == 0


def test_the_worker_keeps_nothing_of_a_batch(wire: Wire) -> None:
    gc.disable()
    try:
        tensor, array = torch.zeros(5000), np.zeros(5000)
        watched: list[Any] = [tensor, array, tensor.untyped_storage()]
        seen = [weakref.ref(value) for value in watched]
        del watched
        wire.pack({"t": tensor, "a": array, "m": marked()})
        del tensor, array

        assert [ref() for ref in seen] == [None] * 3
    finally:
        gc.enable()


def test_the_trainer_keeps_nothing_but_the_batch(wire: Wire) -> None:
    gc.disable()
    try:
        arrived = wire.cross({"t": torch.zeros(5000), "a": np.zeros(5000), "m": marked()})
        del arrived

        assert wire.give_back() == [0]
    finally:
        gc.enable()


def test_non_leaf_tensors_are_refused_in_torchs_words(wire: Wire) -> None:
    value = torch.ones(3, requires_grad=True) * 2
    with pytest.raises(RuntimeError) as theirs:
        ForkingPickler.dumps(value)
    with pytest.raises(RuntimeError) as ours:
        wire.pack(value)

    assert str(ours.value) == str(theirs.value)


def test_opaque_tensors_are_refused_in_torchs_words(wire: Wire) -> None:
    value = torch.ones(3, 3).to_mkldnn()
    with pytest.raises(NotImplementedError) as theirs:
        ForkingPickler.dumps(value)
    with pytest.raises(NotImplementedError) as ours:
        wire.pack(value)

    assert str(ours.value) == str(theirs.value)


def test_a_tensor_whose_storage_was_taken_away_is_refused(wire: Wire) -> None:
    value = torch.ones(3000)
    value.untyped_storage().resize_(0)

    with pytest.raises(RuntimeError, match="needs 12000 bytes of its storage, which has 0"):
        wire.pack(value)


def test_hooks_are_warned_of_as_torch_does(wire: Wire) -> None:
    value: Any = torch.ones(3, requires_grad=True)
    value.register_hook(lambda grad: grad)

    with pytest.warns(UserWarning, match="backward hook .* will not be serialized"):
        wire.pack(value)


@pytest.mark.parametrize("bad", [Refusing(), lambda: 0, threading.Lock()], ids=repr)
def test_errors_of_pickling_are_raised_where_they_happen(wire: Wire, bad: object) -> None:
    with pytest.raises((ValueError, pickle.PicklingError, AttributeError, TypeError)):
        wire.pack([torch.zeros(5000), bad])

    assert wire.slabs.used() == []
    assert wire.cross(torch.ones(5000)).sum() == 5000


def test_errors_of_unpickling_free_the_slab(wire: Wire) -> None:
    parcel = wire.pack([torch.zeros(5000), Exploding()])

    with pytest.raises(ValueError, match="not here"):
        unpack(parcel, wire.shelf)

    assert wire.give_back() == [0]


def test_another_default_device_changes_nothing(wire: Wire) -> None:
    value = [torch.arange(5000), torch.arange(3), torch.zeros(0)]
    with torch.device("meta"):
        arrived = wire.cross(value)

    assert describe(arrived) == describe(value)


def test_reductions_that_users_registered_are_used(wire: Wire) -> None:
    # multiprocessing has registered this one, and plain pickle refuses it.
    left, right = socket.socketpair()
    with left, right:
        try:
            with wire.cross(left) as arrived:
                arrived.send(b"x")
        finally:
            resource_sharer.stop()
        assert right.recv(1) == b"x"


def test_a_record_of_a_collated_batch_fits_one_write_to_a_pipe(wire: Wire) -> None:
    wire.slabs.begin()
    rooms = [wire.slabs.reserve(8000).exporter for _ in range(2)]
    batch = {str(n): torch.frombuffer(room, dtype=torch.float32) for n, room in enumerate(rooms)}
    parcel = pack(batch, wire.slabs)

    assert len(pickle.dumps(tuple(parcel))) < 512


def test_batches_cross_between_processes_and_slabs_come_back() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        ours.close()
        os._exit(serve(theirs))
    theirs.close()
    shelf = Shelf()
    kept = []
    with ours:
        ours.settimeout(20)
        for number in range(40):
            arrived = receive(ours, shelf)
            assert describe(arrived) == describe(sample(number))
            if number % 10 == 0:
                kept.append(arrived)
            del arrived
            ours.send(pickle.dumps(shelf.freed()))
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert [describe(batch) for batch in kept] == [describe(sample(n)) for n in range(0, 40, 10)]
    assert len(kept) <= shelf.bytes / 65536 <= len(kept) + 3
    shelf.close()


def sample(number: int) -> Any:
    return {"x": torch.full((2000,), float(number)), "y": np.full(2000, number), "n": number}


def receive(wire: socket.socket, shelf: Shelf) -> Any:
    record, descriptors, _, _ = socket.recv_fds(wire, 4096, 16)
    parcel, fresh = pickle.loads(record)
    for (slab, nbytes), descriptor in zip(fresh, descriptors, strict=True):
        shelf.adopt(slab, nbytes, descriptor)
    return unpack(Parcel(*parcel), shelf)


def serve(wire: socket.socket) -> int:
    slabs = Slabs()
    for number in range(40):
        slabs.begin()
        parcel = pack(sample(number), slabs)
        fresh = slabs.fresh()
        record = pickle.dumps((tuple(parcel), [entry[:2] for entry in fresh]))
        if fresh:
            socket.send_fds(wire, [record], [entry[2] for entry in fresh])
        else:
            wire.send(record)
        slabs.told()
        for slab in pickle.loads(wire.recv(4096)):
            slabs.give_back(slab)
    return 0
