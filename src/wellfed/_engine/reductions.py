"""How a batch is pickled around its bytes: tensors become numbers, their storages become leaves.

    Packer ─► names of the functions in `rebuilding`, numbers, small bytes
           ─► leaves and buffers, which travel as they are          ─► Unpacker

A leaf is one storage of the batch, cut to the range of bytes its tensors use. Tensors that share a
storage share its leaf, so what was an alias in the worker is an alias in the trainer; an object
that occurs twice is one object there, because pickle remembers it.

Equal to what torch's own transport delivers, but for what that gets wrong: conjugated and negated
views keep their values, a view does not ship (and keep alive) the whole storage it looks at, sparse
and nested tensors keep `requires_grad`.
"""

import functools
import pickle
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, UntypedStorage
from torch.multiprocessing import reductions
from torch.nn.parameter import Parameter
from torch.utils.hooks import warn_if_has_hooks

from wellfed._engine import rebuilding

__all__ = ["LARGE_BYTES", "Leaf", "Packer", "empty_storage"]

LARGE_BYTES = 4096
"""From here on bytes stay in the slab; smaller ones are copied, so that labels pin no slab."""

# A leaf starts at a multiple of the largest element (complex128), so that offsets in elements of
# every type stay whole.
_LARGEST_ITEM_BYTES = 16

# Queues pickle with the default protocol. Before the fifth, every array arrives writable.
_WRITABLE_ARRAYS = pickle.DEFAULT_PROTOCOL < 5

Reduced = tuple[Any, ...]

# torch leaves these untyped.
_reduced_by_torch: Callable[[Tensor], Reduced] = reductions.reduce_tensor


def empty_storage() -> UntypedStorage:
    """A storage of no bytes, which have no address to build one on."""
    return UntypedStorage(0)  # type: ignore[no-untyped-call]


class Leaf:
    """One storage of the batch, and the range of it that is used."""

    __slots__ = ("address", "begin", "end", "storage")

    def __init__(self, storage: UntypedStorage) -> None:
        self.storage = storage  # keeps the address from being given to another storage meanwhile
        self.address: int = storage.data_ptr()
        self.begin = 0
        self.end = 0

    def cover(self, begin: int, end: int) -> None:
        """Have the range of bytes include these."""
        begin -= begin % _LARGEST_ITEM_BYTES
        if self.end == 0:
            self.begin, self.end = begin, end
        else:
            self.begin, self.end = min(self.begin, begin), max(self.end, end)


class _Writes(Protocol):
    def write(self, data: bytes, /) -> object: ...


class Packer(pickle.Pickler):
    """Pickles one batch; what it found is in `leaves` and `buffers` afterwards."""

    def __init__(self, file: _Writes) -> None:
        self.leaves: list[Leaf] = []
        self.buffers: list[memoryview] = []
        # Not a method: the pickler would be a cycle, and keep the batch until the next collection.
        super().__init__(file, 5, buffer_callback=functools.partial(_stays_in, self.buffers))
        self._numbers: dict[int, int] = {}

    # Not `persistent_id`, which is asked about every string and number.
    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is Tensor or kind is Parameter:
            return self._tensor(obj, kind is Parameter)
        if kind is np.ndarray and not obj.flags.writeable and _WRITABLE_ARRAYS:
            return obj.copy(order="K").__reduce_ex__(5)
        reduce = ForkingPickler._extra_reducers.get(kind)  # type: ignore[attr-defined]
        if kind is UntypedStorage and obj.device.type == "cpu":
            return self._storage(obj)
        if reduce is not None:
            return reduce(obj)
        if issubclass(kind, Tensor):
            return self._subclass(obj)
        return NotImplemented

    def _leaf(self, storage: UntypedStorage) -> int:
        key: int = storage._cdata
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.leaves)
            self.leaves.append(Leaf(storage))
        return number

    def _tensor(self, obj: Tensor, is_parameter: bool) -> Reduced:
        grad = obj.requires_grad
        if grad:
            if not obj.is_leaf:
                return _reduced_by_torch(obj)  # which raises its own text
            warn_if_has_hooks(obj)
        if not obj.is_cpu or obj.layout is not torch.strided or obj.is_nested or obj.is_quantized:
            return self._unusual(obj)
        dtype = obj.dtype
        placed = self._placed(
            obj.untyped_storage(),
            dtype,
            int(obj.storage_offset()),
            obj.size(),
            obj.stride(),
            obj.is_contiguous(),
        )
        conj, neg = obj.is_conj(), obj.is_neg()
        if grad or is_parameter or conj or neg:
            return rebuilding.marked, (*placed, grad, is_parameter, conj, neg)
        return rebuilding.strided, placed

    def _placed(
        self,
        storage: UntypedStorage,
        dtype: torch.dtype,
        offset: int,
        size: torch.Size,
        stride: tuple[int, ...],
        contiguous: bool,
    ) -> tuple[int, int, int, tuple[int, ...], tuple[int, ...]]:
        """What a tensor is without its bytes: leaf, dtype, and where on the leaf."""
        number = self._leaf(storage)
        elements = size.numel()
        if elements:
            if not contiguous:
                elements = 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
            item = dtype.itemsize
            end = (offset + elements) * item
            if end > storage.nbytes():
                raise RuntimeError(
                    f"a tensor of shape {tuple(size)} needs {end} bytes of its storage, which has "
                    f"{storage.nbytes()}: it was resized. Return a clone made before that."
                )
            self.leaves[number].cover(offset * item, end)
        # A `torch.Size` would be pickled as an object of its own.
        return number, rebuilding.DTYPE_NUMBERS[dtype], offset, tuple(size), stride

    def _storage(self, obj: UntypedStorage) -> Reduced:
        number = self._leaf(obj)
        self.leaves[number].cover(0, obj.nbytes())
        return rebuilding.whole_storage, (number,)

    def _unusual(self, obj: Tensor) -> Reduced:
        """Sparse, nested, quantized, meta, and what lives on a device."""
        if obj.is_cpu and obj.layout is torch.sparse_coo:
            facts = (tuple(obj.shape), obj.is_coalesced(), obj.requires_grad)
            return rebuilding.sparse_coo, (obj._indices(), obj._values(), *facts)
        if obj.is_cpu and obj.layout in (torch.sparse_csr, torch.sparse_bsr):
            parts = (obj.crow_indices(), obj.col_indices())
            return _compressed(obj, parts)
        if obj.is_cpu and obj.layout in (torch.sparse_csc, torch.sparse_bsc):
            parts = (obj.ccol_indices(), obj.row_indices())
            return _compressed(obj, parts)
        if obj.is_cpu and obj.is_nested and obj.layout is torch.strided:
            flat = obj.detach()
            return rebuilding.nested, (
                flat.values(),
                flat._nested_tensor_size(),
                flat._nested_tensor_strides(),
                flat._nested_tensor_storage_offsets(),
                obj.requires_grad,
            )
        if obj.is_cpu and obj.is_quantized:
            return _reduced_by_class(obj)
        return _reduced_by_torch(obj)

    def _subclass(self, obj: Tensor) -> Any:
        """As the class itself would be pickled, but on a leaf, cut like any other."""
        reduced: Any = _reduced_by_class(obj)
        if not (isinstance(reduced, tuple) and reduced[0] is torch._tensor._rebuild_from_type_v2):
            return reduced
        rebuild, kind, arguments, state = reduced[1]
        plain = (torch._utils._rebuild_tensor_v2, torch._utils._rebuild_tensor_v3)
        if rebuild not in plain:
            return reduced
        storage, offset, size, stride, grad = arguments[:5]
        dtype = arguments[6] if rebuild is torch._utils._rebuild_tensor_v3 else storage.dtype
        untyped = storage if isinstance(storage, UntypedStorage) else storage._untyped_storage
        if untyped.device.type != "cpu":
            return reduced
        with torch._C.DisableTorchFunctionSubclass():
            conj, neg = obj.is_conj(), obj.is_neg()
        placed = self._placed(untyped, dtype, offset, torch.Size(size), stride, False)
        return rebuilding.of_type, (kind, (*placed, grad, False, conj, neg), state)


def _stays_in(large: list[memoryview], buffer: pickle.PickleBuffer) -> bool:
    """Whether a buffer is pickled with the rest; a large one is noted instead."""
    raw = buffer.raw()
    if raw.nbytes < LARGE_BYTES:
        return True
    large.append(raw)
    return False


def _reduced_by_class(obj: Tensor) -> Reduced:
    reduce: Callable[[int], Reduced] = obj.__reduce_ex__
    return reduce(5)


def _compressed(obj: Tensor, indices: tuple[Tensor, Tensor]) -> Reduced:
    values = obj.detach().values()
    parts = (*indices, values, tuple(obj.shape), obj.layout, obj.requires_grad)
    return rebuilding.sparse_compressed, parts
