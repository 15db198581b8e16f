"""Large samples are copied into their batch one by one, while they are still in the CPU's cache.

    dataset[i] ─► take ─► row i of the batch ─► settle: the sample is gone ─► its memory is reused

Torch fetches all samples, then stacks them: each is read again from memory that it has long left
the cache for, and all of them are held at once. Here a worker holds one.

Guarantees
- the batch is, bit for bit, what `default_collate` makes of the samples, and so are its errors:
  where a sample differs from the first one, all become ordinary samples again;
- nothing is copied early that somebody could still change: a sample, or an array, that is alive
  once the fetcher has let go of it becomes an ordinary sample again, and so do all later ones.
"""

import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate
from torch.utils.data._utils.collate import (
    collate_numpy_array_fn,
    collate_tensor_fn,
    default_collate_fn_map,
)

__all__ = ["Stack", "Stacking"]

# From here on it gains more than its 5 µs a sample: `benchmarks/stacking.py` finds a fifth to a
# quarter of the time at 2 and 4 MiB and nothing up to 1 MiB, which a core's own cache holds.
LEAST_BYTES = 3 << 19


ITSELF = object()
"""The key of a sample that is no container."""


class _Row(NamedTuple):
    """Stands for a tensor in a sample that was copied into the batch."""

    batch: Tensor
    place: int


def _batch_of(rows: Sequence[_Row], *, collate_fn_map: Any) -> Tensor:  # noqa: ARG001
    return rows[0].batch


class Stacking:
    """Whether the samples of a fetcher are copied into the batch one by one."""

    def __init__(self, collate: Any) -> None:
        """Nothing is known of its samples.

        Args:
            collate: what the fetcher joins samples with; only torch's default is done early.
        """
        self.on = collate is default_collate
        """Whether it may pay, as far as is known."""
        if self.on:
            default_collate_fn_map[_Row] = _batch_of

    def begun(self, samples: list[Any], count: int) -> "Stack | None":
        """A stack of `count` samples, of which the first is there; None if it is not worth it.

        Args:
            samples: holds the first sample, which is taken out of it if there is a stack.
            count: how many there will be.
        """
        leaves = {key: one for key, one in _members(samples[0]) if _is_large(one)}
        if not leaves or not _is_torchs_way(samples[0]):
            return None
        return Stack(self, samples, leaves, count)


class Stack:
    """The samples of one batch, while they are fetched."""

    def __init__(
        self, stacking: Stacking, samples: list[Any], leaves: dict[Any, Any], count: int
    ) -> None:
        self.samples: list[Any] = []
        """What is to be joined, in order."""
        self._stacking = stacking
        self._kind = type(samples[0])
        self._length = _length(samples[0])
        self._batches = {key: _room_for(_tensor(one), count) for key, one in leaves.items()}
        self._fresh: list[weakref.ref[Any]] = []
        self._whole = False
        """Whether the batch is stacked at the end after all."""
        leaves.clear()
        self.take(samples.pop())
        self.settle()

    def take(self, sample: Any) -> None:
        """The next sample. `settle` is to be called as soon as nobody holds it any more."""
        if not self._whole:
            if self._fits(sample):
                sample = self._copied(sample)
            else:
                self._undo()
        self.samples.append(sample)

    def settle(self) -> None:
        """Nobody but the dataset itself may hold the last sample now."""
        if self._whole:
            return
        alive = [ref() for ref in self._fresh]
        if any(one is not None for one in alive):
            self._undo(dict(zip(self._batches, alive, strict=True)))
        self._fresh = []

    def _fits(self, sample: Any) -> bool:
        if type(sample) is not self._kind or _length(sample) != self._length:
            return False
        for key, batch in self._batches.items():
            leaf = _get(sample, key)
            if not _is_large(leaf):
                return False
            tensor = _tensor(leaf)
            if tensor.dtype != batch.dtype or tensor.shape != batch.shape[1:]:
                return False
        return True

    def _copied(self, sample: Any) -> Any:
        """The sample, with rows in the places of its large tensors."""
        place = len(self.samples)
        rows = {}
        for key, batch in self._batches.items():
            leaf = _get(sample, key)
            batch[place].copy_(_tensor(leaf))
            self._fresh.append(weakref.ref(leaf))
            rows[key] = _Row(batch, place)
        return _with(sample, rows)

    def _undo(self, last: dict[Any, Any] | None = None) -> None:
        """Make ordinary samples of all; of the last one's tensors, those that are alive."""
        self._whole, self._stacking.on = True, False
        end = len(self.samples) - 1
        for number, sample in enumerate(self.samples):
            there = {}
            for key, batch in self._batches.items():
                alive = last[key] if last is not None and number == end else None
                there[key] = batch[number].clone() if alive is None else alive
            self.samples[number] = _with(sample, there)
        self._batches = {}


def _is_torchs_way(sample: Any) -> bool:
    """Whether nobody has told torch to collate such samples in another way."""
    ways = default_collate_fn_map
    if ways[Tensor] is not collate_tensor_fn or ways[np.ndarray] is not collate_numpy_array_fn:
        return False
    container = type(sample) in (tuple, list, dict)
    return not container or not any(isinstance(sample, kind) for kind in ways)


def _members(sample: Any) -> list[tuple[Any, Any]]:
    """What is in a sample, by key; of a sample that is no container, itself."""
    kind = type(sample)
    if kind is tuple or kind is list:
        return list(enumerate(sample))
    if kind is dict:
        return list(sample.items())
    return [(ITSELF, sample)]


def _length(sample: Any) -> int:
    return len(sample) if type(sample) in (tuple, list, dict) else 0


def _get(sample: Any, key: Any) -> Any:
    """A member; of a dict that lacks it, nothing: that is for the collate function to say."""
    if key is ITSELF:
        return sample
    return sample.get(key) if type(sample) is dict else sample[key]


def _with(sample: Any, members: dict[Any, Any]) -> Any:
    """A copy of a sample that has these members."""
    if ITSELF in members:
        return members[ITSELF]
    if type(sample) is dict:
        return {**sample, **members}
    return type(sample)(members.get(place, one) for place, one in enumerate(sample))


def _is_large(leaf: Any) -> bool:
    """Whether it is worth to be copied early, and can be, should nobody else hold it."""
    if type(leaf) is np.ndarray:
        numbers = leaf.dtype.isnative and leaf.dtype.kind in "biuf" and leaf.itemsize <= 8
        own = leaf.flags.owndata and leaf.flags.carray  # and in C order, aligned, to be written
        return bool(leaf.nbytes >= LEAST_BYTES and numbers and own)
    if type(leaf) is not Tensor or leaf.is_nested or leaf.layout is not torch.strided:
        return False
    return (
        leaf.nbytes >= LEAST_BYTES
        and leaf.device.type == "cpu"
        and leaf.is_contiguous()
        and not leaf.requires_grad
        and not (leaf.is_conj() or leaf.is_neg() or leaf.is_quantized)
        and _is_sole(leaf)
    )


def _uses(tensor: Tensor) -> int:
    """How often its memory is held: by tensors, and by the object that asking has made."""
    count = getattr(torch._C, "_storage_Use_Count", None)
    return -1 if count is None else int(count(tensor.untyped_storage()._cdata))


USES_OF_ONE = _uses(torch.empty(1))


def _is_sole(tensor: Tensor) -> bool:
    """Whether no other tensor, nor what made it from memory of its own, has this one's memory."""
    uses = _uses(tensor)
    return uses > 0 and uses == USES_OF_ONE and tensor.untyped_storage().resizable()


def _tensor(leaf: Any) -> Tensor:
    return torch.as_tensor(leaf)


def _room_for(first: Tensor, count: int) -> Tensor:
    """Memory for so many of them: where torch's collate would stack them in a worker."""
    typed: Any = first._typed_storage()  # type: ignore[no-untyped-call]
    storage = typed._new_shared(first.numel() * count, device=first.device)
    return first.new(storage).resize_(count, *first.size())
