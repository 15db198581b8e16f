import copy
import gc
import io
import os
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from wellfed._engine.parcel import discard
from wiring import Wire, descriptors, mappings, wired

N = 128
NBYTES = 4 * N * N


@pytest.fixture
def wire() -> Iterator[Wire]:
    with wired() as wire:
        yield wire


def received(wire: Wire) -> torch.Tensor:
    tensor: torch.Tensor = wire.cross(torch.arange(N * N, dtype=torch.float32).view(N, N))
    return tensor


def holding(view: torch.Tensor) -> Callable[[], torch.Tensor]:
    return lambda: view * 1


def by_graph(tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Autograd has saved the tensor; nothing else holds it."""
    weight = torch.ones(N, N, requires_grad=True)
    product = (tensor * weight).sum()
    return lambda: torch.autograd.grad(product, weight, retain_graph=True)[0]


class Node:
    def __init__(self, view: torch.Tensor) -> None:
        self.view = view
        self.itself = self


DLPACK: Any = torch.utils.dlpack

ALIASES: dict[str, Callable[[Any], Any]] = {
    "detach": lambda t: t.detach(),
    "data": lambda t: t.data,
    "view of another dtype": lambda t: t.view(torch.int32),
    "view of bytes": lambda t: t.view(torch.uint8),
    "numpy": lambda t: t.numpy(),
    "numpy slice": lambda t: t.numpy()[3:, ::2],
    "untyped storage": lambda t: t.untyped_storage(),
    "typed storage": lambda t: t._typed_storage(),
    "set_": lambda t: torch.empty(0).set_(t),
    "set_ on the storage": lambda t: torch.empty(0).set_(t.untyped_storage(), 5, (7,), (2,)),
    "slice": lambda t: t[5:9, 3],
    "transpose": lambda t: t.t(),
    "as_strided": lambda t: t.as_strided((4, 4), (3, 1), 17),
    "unbind": lambda t: t.unbind()[-1],
    "chunk": lambda t: t.chunk(4)[1],
    "split": lambda t: t.split(5)[2],
    "squeeze": lambda t: t[:1].squeeze(),
    "expand": lambda t: t[:1].expand(9, N),
    "reshape": lambda t: t.reshape(-1),
    "memoryview of numpy": lambda t: memoryview(t.numpy()),
    "from_numpy of numpy": lambda t: torch.from_numpy(t.numpy()),
    "frombuffer of numpy": lambda t: np.frombuffer(t.numpy(), dtype=np.uint8),
    "closure": holding,
    "reference cycle": Node,
    "autograd graph": by_graph,
    "attribute of a subclass": lambda t: t.as_subclass(torch.nn.Parameter),
    "parameter": lambda t: torch.nn.Parameter(t),
    "dlpack": lambda t: DLPACK.from_dlpack(t),
    "numpy by dlpack": lambda t: np.from_dlpack(t),
    "capsule": lambda t: DLPACK.to_dlpack(t),
    "real part of a complex view": lambda t: torch.view_as_complex(t.view(N, N // 2, 2)).real,
    "alias op": lambda t: torch.ops.aten.alias(t),
}


def content(alias: Any) -> Any:
    """What can be read through an alias."""
    if isinstance(alias, torch.UntypedStorage):
        return bytes(alias)
    if isinstance(alias, torch.TypedStorage):
        return bytes(alias._untyped_storage)
    if isinstance(alias, torch.Tensor):
        return alias.detach().numpy().tobytes()
    if isinstance(alias, np.ndarray | memoryview):
        return alias.tobytes()
    if isinstance(alias, Node):
        return content(alias.view)
    return content(alias()) if callable(alias) else None


@pytest.mark.parametrize("make", ALIASES.values(), ids=ALIASES)
def test_bytes_survive_as_long_as_any_alias_of_them(
    wire: Wire, make: Callable[[torch.Tensor], Any]
) -> None:
    tensor = received(wire)
    alias = make(tensor)
    expected = content(alias)
    del tensor
    wire.overwrite(NBYTES)

    assert content(alias) == expected
    assert wire.shelf.leased_bytes > 0

    del alias
    gc.collect()

    assert wire.give_back() == [0]
    assert wire.shelf.leased_bytes == 0


def test_a_capsule_that_was_not_read_yet_keeps_the_bytes(wire: Wire) -> None:
    capsule = DLPACK.to_dlpack(received(wire))
    wire.overwrite(NBYTES)

    assert torch.equal(DLPACK.from_dlpack(capsule).view(-1), torch.arange(N * N).float())


def test_a_cycle_keeps_its_slab_until_it_is_collected(wire: Wire) -> None:
    gc.disable()
    try:
        node = Node(received(wire)[2:])
        seen = weakref.ref(node)
        del node
        wire.overwrite(NBYTES)

        assert wire.shelf.leased_bytes > 0

        still = seen()
        assert still is not None
        assert still.view[0, 0] == 2 * N
        del still
    finally:
        gc.enable()
    gc.collect()

    assert wire.give_back() == [0]


COPIES: dict[str, Callable[[torch.Tensor], object]] = {
    "pickled": lambda t: pickle.loads(pickle.dumps(t)),
    "deepcopied": copy.deepcopy,
    "cloned": lambda t: t.clone(),
    "copied array": lambda t: t.numpy().copy(),
    "saved": lambda t: torch.save(t, io.BytesIO()),
    "list": lambda t: t.tolist(),
}


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
def test_copies_do_not_keep_a_slab(wire: Wire, make: Callable[[torch.Tensor], object]) -> None:
    tensor = received(wire)
    kept = make(tensor)
    del tensor

    assert wire.give_back() == [0]
    del kept


def test_arrays_keep_their_slab(wire: Wire) -> None:
    array = wire.cross(np.arange(N * N))[10:]
    expected = array.tobytes()
    wire.overwrite(8 * N * N)

    assert array.tobytes() == expected

    del array

    assert wire.give_back() == [0]


class Frozen:
    """Pickled by a read-only buffer, and back on one."""

    def __init__(self, buffer: Any) -> None:
        self.array = np.frombuffer(buffer, dtype=np.uint8)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Frozen, (pickle.PickleBuffer(bytes(self.array)),)


def test_read_only_buffers_keep_their_slab(wire: Wire) -> None:
    array = wire.cross(Frozen(b"abcd" * 4000)).array[4:]
    wire.overwrite(16_000)

    assert array.tobytes() == b"abcd" * 3999
    assert not array.flags.writeable

    del array

    assert wire.give_back() == [0]


def test_one_tensor_of_several_keeps_the_slab(wire: Wire) -> None:
    first, second = wire.cross([torch.zeros(2000), torch.ones(2000)])
    del first

    assert wire.give_back() == []

    del second

    assert wire.give_back() == [0]


def test_a_slab_is_freed_once(wire: Wire) -> None:
    del [received(wire)][0]

    assert wire.shelf.freed() == [0]
    assert wire.shelf.freed() == []


def test_a_batch_that_nobody_wants_frees_its_slab(wire: Wire) -> None:
    discard(wire.pack(torch.zeros(N, N)), wire.shelf)

    assert wire.give_back() == [0]


def test_leases_may_end_in_any_thread(wire: Wire) -> None:
    kept = [received(wire)]
    thread = threading.Thread(target=kept.clear)
    thread.start()
    thread.join()

    assert wire.give_back() == [0]


def test_kept_batches_block_only_their_own_slabs(wire: Wire) -> None:
    kept = [received(wire) for _ in range(3)]
    del kept[1]

    assert wire.give_back() == [1]


def test_a_dropped_slab_is_readable_until_its_last_lease_ends(wire: Wire) -> None:
    before = mappings()
    tensor = received(wire)
    wire.shelf.drop(0)
    wire.slabs.drop(0)

    assert tensor[1, 1] == N + 1
    assert wire.shelf.bytes > 0
    assert mappings() == before + 1

    del tensor

    assert wire.shelf.freed() == []
    assert wire.shelf.bytes == 0
    assert mappings() == before


def test_batches_outlive_their_shelf(wire: Wire) -> None:
    tensor = received(wire)
    wire.close()
    wire.close()

    assert tensor[1, 1] == N + 1


def test_nothing_is_left_once_all_is_closed() -> None:
    before = (mappings(), descriptors())
    with wired() as wire:
        kept = [received(wire) for _ in range(5)]
    del kept

    assert (mappings(), descriptors()) == before


def test_kept_batches_occupy_no_descriptors(wire: Wire) -> None:
    before = descriptors()
    kept = [received(wire) for _ in range(20)]

    assert descriptors() == before
    del kept


def test_a_slab_held_when_the_user_forks_is_never_written_again(wire: Wire) -> None:
    tensor = received(wire)
    free = wire.pack(torch.zeros(N, N))
    asked, ask = os.pipe()
    answered, answer = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(asked, 1)
        same = torch.equal(tensor.view(-1), torch.arange(N * N).float())
        del tensor
        os.write(answer, b"y" if same else b"n")
        os._exit(0)
    del tensor
    discard(free, wire.shelf)
    wire.overwrite(NBYTES)
    os.write(ask, b"?")

    assert os.read(answered, 1) == b"y"

    os.waitpid(child, 0)
    for descriptor in (asked, ask, answered, answer):
        os.close(descriptor)
    wire.give_back()
    assert wire.shelf.bytes == wire.slabs.bytes
    assert 0 not in wire.slabs._slabs


def test_a_child_frees_nothing(wire: Wire) -> None:
    tensor = received(wire)
    child = os.fork()
    if child == 0:
        del tensor
        os._exit(len(wire.shelf.freed() + wire.shelf.spent()))
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
