"""How a batch that was pickled around its bytes is built on them again: see `reductions`."""

import functools
import io
import pickle
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, UntypedStorage
from torch.nn.parameter import Parameter

__all__ = [
    "DTYPE_NUMBERS",
    "LandedLeaf",
    "Unpacker",
    "marked",
    "nested",
    "of_type",
    "sparse_compressed",
    "sparse_coo",
    "strided",
    "whole_storage",
]

_DTYPES = tuple(
    sorted({kind for kind in vars(torch).values() if isinstance(kind, torch.dtype)}, key=str)
)
DTYPE_NUMBERS = {dtype: number for number, dtype in enumerate(_DTYPES)}


class LandedLeaf(NamedTuple):
    """A leaf as the trainer has it."""

    storage: UntypedStorage
    begin: int
    """Where it began in the worker's storage, in bytes."""


class Unpacker(pickle.Unpickler):
    """Reads what a `Packer` wrote, on the leaves and buffers that have landed."""

    def __init__(
        self, data: memoryview, leaves: list[LandedLeaf], buffers: Iterable[memoryview]
    ) -> None:
        super().__init__(io.BytesIO(data), buffers=buffers)
        self._leaves = leaves

    def find_class(self, module: str, name: str) -> Any:
        """The functions of this module are handed the leaves."""
        if module == __name__:
            return functools.partial(_REBUILDS[name], self._leaves)
        return super().find_class(module, name)


# What a batch is pickled as: by name, in `reductions`.


def strided(
    leaves: list[LandedLeaf],
    leaf: int,
    dtype: int,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
) -> Tensor:
    storage, begin = leaves[leaf]
    kind = _DTYPES[dtype]
    # Without elements, the offset may lie before what was sent.
    start = max(0, offset - begin // kind.itemsize) if begin else offset
    # The device is named because the user may have set another default.
    return torch.empty(0, dtype=kind, device="cpu").set_(storage, start, size, stride)


def marked(leaves: list[LandedLeaf], *arguments: Any) -> Tensor:
    *placed, grad, is_parameter, conj, neg = arguments
    tensor = strided(leaves, *placed)
    if conj:
        torch._C._set_conj(tensor, True)
    if neg:
        torch._C._set_neg(tensor, True)
    if is_parameter:
        return Parameter(tensor, requires_grad=grad)
    return tensor.requires_grad_(grad)


def of_type(leaves: list[LandedLeaf], kind: type, placed: tuple[Any, ...], state: Any) -> Any:
    rebuild: Any = torch._tensor._rebuild_from_type_v2
    return rebuild(marked, kind, (leaves, *placed), state)


def whole_storage(leaves: list[LandedLeaf], leaf: int) -> UntypedStorage:
    return leaves[leaf].storage


def sparse_coo(
    _leaves: list[LandedLeaf],
    indices: Tensor,
    values: Tensor,
    shape: tuple[int, ...],
    coalesced: bool,
    grad: bool,
) -> Tensor:
    tensor = torch.sparse_coo_tensor(
        indices, values, shape, is_coalesced=coalesced, check_invariants=False
    )
    return tensor.requires_grad_(grad)


def sparse_compressed(
    _leaves: list[LandedLeaf],
    outer: Tensor,
    inner: Tensor,
    values: Tensor,
    shape: tuple[int, ...],
    layout: torch.layout,
    grad: bool,
) -> Tensor:
    tensor = torch.sparse_compressed_tensor(
        outer, inner, values, shape, layout=layout, check_invariants=False
    )
    return tensor.requires_grad_(grad)


def nested(
    _leaves: list[LandedLeaf],
    values: Tensor,
    sizes: Tensor,
    strides: Tensor,
    offsets: Tensor,
    grad: bool,
) -> Tensor:
    tensor: Tensor = torch._nested_view_from_buffer_copy(values, sizes, strides, offsets)
    return tensor.requires_grad_(grad)


_REBUILDS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        strided,
        marked,
        of_type,
        whole_storage,
        sparse_coo,
        sparse_compressed,
        nested,
    )
}
