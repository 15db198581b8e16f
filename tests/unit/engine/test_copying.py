"""A batch's copy: what torch's pinning would give, with its aliases, each storage copied once."""

import gc
import weakref
from collections import OrderedDict, UserDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.data._utils.pin_memory import pin_memory

from wellfed._engine.copying import copied

torchs: Callable[[Any], Any] = pin_memory


class Copies:
    """Copies to ordinary memory, and counts."""

    def __init__(self) -> None:
        self.made: list[Tensor] = []

    def __call__(self, tensor: Tensor) -> Tensor:
        self.made.append(tensor)
        return tensor.clone()

    @property
    def nbytes(self) -> int:
        return sum(one.nbytes for one in self.made)


def same_but_elsewhere(copy: Tensor, source: Tensor) -> None:
    assert torch.equal(copy, source)
    assert (copy.dtype, copy.stride()) == (source.dtype, source.stride())
    assert copy.untyped_storage().data_ptr() != source.untyped_storage().data_ptr()


BASE = torch.arange(24, dtype=torch.float32).reshape(4, 6)

TENSORS = {
    "contiguous": BASE,
    "transposed": BASE.T,
    "every second column": BASE[:, ::2],
    "from the middle": BASE[1:3, 2:],
    "expanded": torch.ones(3, 1).expand(3, 5),
    "a scalar": torch.tensor(7),
    "bytes at an odd place": torch.arange(40, dtype=torch.uint8)[3:9],
    "complex": torch.arange(6).to(torch.complex128)[1:],
    "half": torch.arange(9).to(torch.bfloat16)[5:],
    "booleans": torch.tensor([True, False, True])[1:],
    "channels last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "of many dimensions": torch.arange(64).reshape([2] * 6).permute(5, 3, 1, 0, 2, 4),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_keeps_its_values_and_strides(name: str) -> None:
    copies = Copies()

    same_but_elsewhere(copied(TENSORS[name], copies), TENSORS[name])
    assert len(copies.made) == 1


def test_views_of_one_storage_are_views_of_one_copy() -> None:
    batch = {"whole": BASE, "row": BASE[1], "column": [BASE[:, 2], (BASE.view(torch.int32),)]}
    copies = Copies()

    copy = copied(batch, copies)

    copy["whole"][1, 2] = -1
    assert copy["row"][2] == copy["column"][0][1] == -1
    assert copy["column"][1][0][1, 2] == torch.tensor(-1.0).view(torch.int32)
    assert BASE[1, 2] == 8
    assert (len(copies.made), copies.nbytes) == (1, BASE.nbytes)


def test_a_tensor_that_occurs_twice_is_one_tensor() -> None:
    one = torch.zeros(3)
    copies = Copies()

    first, second = copied([one, one], copies)

    assert first is second
    assert len(copies.made) == 1


def test_views_that_meet_are_copied_once_together() -> None:
    """As two halves of a batch that was split."""
    whole = torch.arange(64)
    halves = [whole[:32], whole[32:]]
    copies = Copies()

    copy = copied(halves, copies)

    assert [one.tolist() for one in copy] == [one.tolist() for one in halves]
    assert len(copies.made) == 1


def test_only_what_the_batch_looks_at_is_copied() -> None:
    """Two rows of a dataset in memory, far from each other."""
    dataset = torch.arange(1_000_000)
    rows = [dataset[10:20], dataset[900_000:900_010]]
    copies = Copies()

    copy = copied(rows, copies)

    assert [one.tolist() for one in copy] == [one.tolist() for one in rows]
    assert copies.nbytes <= 2 * (80 + 16)


def test_views_that_interleave_keep_their_places() -> None:
    left, right = BASE[:, :3], BASE[:, 3:]
    copy_left, copy_right = copied((left, right), copies := Copies())

    same_but_elsewhere(copy_left, left)
    same_but_elsewhere(copy_right, right)
    assert copy_left.untyped_storage().data_ptr() == copy_right.untyped_storage().data_ptr()
    assert len(copies.made) == 1


class Point(NamedTuple):
    x: Tensor
    y: Tensor


@dataclass
class Sample:
    x: Tensor


class Attributed(dict[str, Any]):
    note = "kept"


STRUCTURES: dict[str, Any] = {
    "nested": {"a": [torch.ones(2), {"b": (torch.zeros(3), "text", b"bytes", 4, None)}]},
    "namedtuple": Point(torch.ones(2), torch.zeros(2)),
    "ordered": OrderedDict(b=torch.ones(1), a=torch.zeros(1)),
    "with a default": defaultdict(list, a=torch.ones(1)),
    "a mapping": UserDict({"a": torch.ones(1)}),
    "with attributes": Attributed(a=torch.ones(1)),
    "a deque": deque([torch.ones(1)]),
    "a range": range(3),
    "packed": pack_sequence([torch.ones(3), torch.ones(2)]),
    "unknown to torch": Sample(torch.ones(2)),
    "a set": {1, 2},
}


def described(value: Any) -> Any:
    """Types, and values in place of tensors."""
    if isinstance(value, Tensor):
        return value.dtype, value.tolist()
    if isinstance(value, (dict, UserDict)):
        return type(value), [(key, described(one)) for key, one in value.items()]
    if isinstance(value, (list, tuple, deque)):
        return type(value), [described(one) for one in value]
    return type(value), value


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures_are_walked_as_torch_walks_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = STRUCTURES[name]
    copy = copied(value, Copies())
    # Torch itself, where pinning is possible.
    monkeypatch.setattr(Tensor, "pin_memory", Tensor.clone)
    expected = torchs(value)

    assert described(copy) == described(expected)
    assert (copy is value) == (expected is value)


def test_what_torch_does_not_know_is_handed_on_untouched() -> None:
    value = Sample(torch.ones(2))
    copies = Copies()

    assert copied(value, copies) is value
    assert copies.made == []


def test_packed_sequences_keep_their_sizes_where_they_are() -> None:
    packed = pack_sequence([torch.ones(2), torch.ones(3)], enforce_sorted=False)
    copies = Copies()

    copy: PackedSequence = copied(packed, copies)

    assert copy.batch_sizes is packed.batch_sizes
    assert torch.equal(copy.data, packed.data)
    assert len(copies.made) == 3


class Custom:
    """As in torch's documentation."""

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.calls = 0

    def pin_memory(self) -> "Custom":
        self.calls += 1
        self.x = self.x.pin_memory()
        return self


def test_a_class_pins_itself_and_its_tensors_are_copied() -> None:
    x = torch.ones(3)
    custom = Custom(x)
    copies = Copies()

    copy = copied([custom], copies)

    assert copy[0] is custom
    assert custom.calls == 1
    same_but_elsewhere(custom.x, x)
    assert len(copies.made) == 1


ODD = {
    "a leaf of a graph": torch.ones(3, requires_grad=True),
    "a parameter": torch.nn.Parameter(torch.ones(3)),
    "conjugated": torch.tensor([1 + 2j]).conj(),
    "sparse": torch.eye(3).to_sparse(),
    "empty": torch.empty(0, 3),
    "meta": torch.empty(3, device="meta"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_not_a_plain_tensor_is_copied_as_it_is(name: str) -> None:
    copies = Copies()
    copied([ODD[name]], copies)

    assert copies.made == [ODD[name]] or copies.made[0] is ODD[name]


def test_a_tensor_that_is_there_already_stays_the_same() -> None:
    batch = [BASE.T, BASE[1:]]

    copy = copied(batch, lambda tensor: tensor)

    assert [one is source for one, source in zip(copy, batch, strict=True)] == [True, True]


def test_a_failed_copy_is_the_copys_own_error() -> None:
    def fails(tensor: Tensor) -> Tensor:
        raise MemoryError("no page-locked memory")

    with pytest.raises(MemoryError, match="no page-locked memory"):
        copied({"a": torch.ones(2)}, fails)


def test_nothing_holds_the_batch_afterwards() -> None:
    batch = {"a": torch.ones(2), "b": Custom(torch.ones(2))}
    gone = weakref.ref(batch["a"])
    copied(batch, Copies.__call__.__get__(Copies()))
    del batch
    gc.collect()

    assert gone() is None


def test_torch_is_asked_as_ever_by_whoever_comes_after() -> None:
    with pytest.raises(ValueError, match="of the copy"):
        copied(torch.ones(2), _raises)
    assert torch.ones(2).add(1).tolist() == [2, 2]


def _raises(tensor: Tensor) -> Tensor:
    raise ValueError("of the copy")
