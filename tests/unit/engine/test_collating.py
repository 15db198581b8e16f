import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate
from torch.utils.data._utils import worker as torch_worker
from torch.utils.data._utils.collate import default_collate_fn_map

from describing import describe
from wellfed._engine.collating import collate_into
from wellfed._engine.parcel import pack, unpack
from wiring import Wire, wired


@pytest.fixture
def wire() -> Iterator[Wire]:
    with wired() as wire:
        yield wire


@pytest.fixture
def in_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch collates into shared memory in workers only."""
    info = torch_worker.WorkerInfo(id=0, num_workers=1, seed=0, dataset=torch.utils.data.Dataset())
    monkeypatch.setattr(torch_worker, "_worker_info", info)


class Labelled(torch.Tensor):
    """A subclass whose batches are of it as well."""


def collated(wire: Wire, samples: list[Any], collate: Callable[..., Any] = default_collate) -> Any:
    wire.slabs.begin()
    patches = collate_into(wire.slabs)
    try:
        return collate(samples)
    finally:
        patches.undo()


def recipe(samples: list[torch.Tensor]) -> torch.Tensor:
    """What user code has copied from torch."""
    first: Any = samples[0]
    storage = first._typed_storage()._new_shared(sum(sample.numel() for sample in samples))
    out = first.new(storage).resize_(len(samples), *first.size())
    return torch.stack(samples, 0, out=out)


SAMPLES: dict[str, Callable[[], list[Any]]] = {
    "tensors": lambda: [torch.randn(30, 40) for _ in range(4)],
    "small tensors": lambda: [torch.randn(3) for _ in range(4)],
    "numbers in tensors": lambda: [torch.tensor(n) for n in range(4)],
    "no elements": lambda: [torch.zeros(0, 3) for _ in range(4)],
    "half of them empty": lambda: [torch.zeros(2, 0), torch.zeros(2, 0)],
    "arrays": lambda: [np.full((30, 40), n) for n in range(4)],
    "array numbers": lambda: [np.float32(n) for n in range(4)],
    "numbers": lambda: [1.5, 2.5],
    "structures": lambda: [{"x": torch.randn(2000), "y": n, "s": "a"} for n in range(4)],
    "transposed": lambda: [torch.randn(30, 40).t() for _ in range(4)],
    "subclass": lambda: [torch.randn(2000).as_subclass(Labelled) for _ in range(4)],
    "parameters": lambda: [torch.nn.Parameter(torch.randn(2000), False) for _ in range(2)],
    "promoted": lambda: [torch.zeros(2000, dtype=torch.float64), torch.ones(2000)],
    "promoted to the second": lambda: [torch.zeros(2000), torch.ones(2000, dtype=torch.int32)],
    "bfloat16": lambda: [torch.randn(4000).bfloat16() for _ in range(2)],
    "ragged": lambda: [torch.zeros(3000), torch.zeros(3001)],
    "small and ragged": lambda: [torch.zeros(30), torch.zeros(31)],
    "ragged, the first longer": lambda: [torch.zeros(3001), torch.zeros(3), torch.zeros(3)],
    "requiring gradients": lambda: [torch.zeros(3000, requires_grad=True) for _ in range(2)],
    "of several ranks": lambda: [torch.zeros(3000), torch.zeros(3, 1000)],
    "sparse": lambda: [torch.eye(3).to_sparse()],
    "objects": lambda: [object()],
    "mixed layouts": lambda: [torch.zeros(3000), torch.zeros(3000).to_sparse()],
}


@pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES)
def test_batches_and_errors_are_torchs(wire: Wire, in_worker: None, make: Any) -> None:
    samples = make()
    expected = outcome(lambda: default_collate(samples))

    assert outcome(lambda: collated(wire, samples)) == expected
    assert outcome(lambda: sent(wire, collated(wire, samples))) == expected


def outcome(collate: Callable[[], Any]) -> Any:
    """What came of it, be it an error."""
    try:
        return describe(collate())
    except (RuntimeError, TypeError) as error:
        return type(error), str(error)


def sent(wire: Wire, batch: Any) -> Any:
    return unpack(pack_told(wire, batch), wire.shelf)


def pack_told(wire: Wire, batch: Any) -> Any:
    parcel = pack(batch, wire.slabs)
    wire.tell()
    return parcel


@pytest.mark.parametrize("collate", [default_collate, recipe])
def test_a_batch_lies_in_the_slab_it_travels_in(
    wire: Wire, in_worker: None, collate: Callable[..., Any]
) -> None:
    batch = collated(wire, [torch.full((2000,), float(n)) for n in range(4)], collate)
    parcel = pack_told(wire, batch)
    batch[0, 0] = 77
    arrived = unpack(parcel, wire.shelf)

    assert parcel.inline
    assert arrived[0, 0] == 77
    assert arrived[3, 1] == 3


def test_arrays_lie_in_the_slab_as_well(wire: Wire, in_worker: None) -> None:
    parcel = pack_told(wire, collated(wire, [np.full(2000, n) for n in range(4)]))

    assert parcel.inline
    assert unpack(parcel, wire.shelf)[3, 0] == 3


def test_a_result_the_collate_function_keeps_is_not_written_over(
    wire: Wire, in_worker: None
) -> None:
    kept = collated(wire, [torch.full((2000,), 5.0)])
    unpack(pack_told(wire, kept), wire.shelf)
    wire.overwrite(8000)

    assert kept.sum() == 10_000


def test_outside_a_worker_nothing_is_reserved(wire: Wire) -> None:
    collated(wire, [torch.zeros(2000)])

    assert wire.slabs.bytes == 0


def test_an_entry_of_the_users_is_left_alone(
    wire: Wire, in_worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(default_collate_fn_map, torch.Tensor, lambda batch, **_: "mine")

    assert collated(wire, [torch.zeros(2000)]) == "mine"


def test_undone_it_leaves_no_trace(wire: Wire) -> None:
    before = vars(torch.storage._StorageBase)["_new_shared"]
    patches = collate_into(wire.slabs)

    assert vars(torch.storage._StorageBase)["_new_shared"] is not before

    patches.undo()
    patches.undo()

    assert vars(torch.storage._StorageBase)["_new_shared"] is before


def test_a_child_of_the_worker_writes_to_no_slab_of_its(wire: Wire, in_worker: None) -> None:
    wire.slabs.begin()
    patches = collate_into(wire.slabs)
    child = os.fork()
    if child == 0:
        shared = default_collate([torch.zeros(2000)]).is_shared()
        os._exit(0 if shared and not wire.slabs.used() else 1)
    patches.undo()
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
