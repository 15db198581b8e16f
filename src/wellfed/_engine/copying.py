"""A batch copied elsewhere: what torch's pinning would copy, but each storage once.

Torch's own `pin_memory` walks the batch, so all that it knows about mappings, namedtuples and
classes with a method `pin_memory` holds here too. What it asks of each tensor is answered by us.

Guarantees
- tensors of a batch that overlap in memory overlap in the copy, and one that occurs twice is one;
- sizes and strides are kept;
- of a storage only what the batch's tensors cover is copied, once;
- what is not a plain tensor in the host's memory is copied by torch, as torch does it.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.data._utils.pin_memory import pin_memory

__all__ = ["copied"]

_as_torch_pins: Callable[[Any], Any] = pin_memory  # torch leaves it untyped

# A copy begins at a multiple of the largest element (complex128), so that offsets in elements of
# every type stay whole.
_LARGEST_ITEM_BYTES = 16

Copy = Callable[[Tensor], Tensor]
Range = tuple[int, int]


def copied(value: Any, copy: Copy) -> Any:
    """The batch with every tensor copied that `pin_memory=True` would copy.

    Args:
        value: the batch, which is not changed.
        copy: copies one tensor. It is given flat ones of bytes where that can be; the copy of
            such a one is flat too.

    Raises:
        Exception: of `copy`, or of a class's own `pin_memory`.
    """
    with _Answers(_ranges(_plain_tensors(value)), copy):
        return _as_torch_pins(value)


class _Answers(TorchFunctionMode):
    """Answers `Tensor.pin_memory` while torch walks a batch."""

    def __init__(self, ranges: dict[int, list[Range]], copy: Copy) -> None:
        super().__init__()
        self._ranges = ranges
        self._copy = copy
        self._copies: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        """By storage and where in it: the bytes, and their copy."""
        self._seen: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is not Tensor.pin_memory:
            return func(*args, **(kwargs or {}))
        tensor: Tensor = args[0]
        if not _is_plain(tensor):
            return self._copy(tensor)
        # The tensor is kept, so that its number is not another's meanwhile.
        _, answer = self._seen.get(id(tensor), (None, None))
        if answer is None:
            answer = self._plain(tensor)
            self._seen[id(tensor)] = tensor, answer
        return answer

    def _plain(self, tensor: Tensor) -> Tensor:
        begin, end = self._range(tensor)
        key = tensor.untyped_storage().data_ptr(), begin
        if key not in self._copies:
            source = _built(tensor.untyped_storage(), torch.uint8, begin, (end - begin,), (1,))
            self._copies[key] = source, self._copy(source)
        source, copy = self._copies[key]
        if copy is source:  # it is pinned as it is
            return tensor
        offset = int(tensor.storage_offset()) - begin // tensor.itemsize
        first = int(copy.storage_offset()) // tensor.itemsize
        size, stride = tensor.size(), tensor.stride()
        return _built(copy.untyped_storage(), tensor.dtype, first + offset, size, stride)

    def _range(self, tensor: Tensor) -> Range:
        begin, end = _covered(tensor)
        ranges = self._ranges.get(tensor.untyped_storage().data_ptr(), [])
        at = bisect_right(ranges, begin, key=lambda one: one[0]) - 1
        # A class's own `pin_memory` may bring tensors that were not seen from outside.
        return ranges[at] if at >= 0 and ranges[at][1] >= end else (begin, end)


def _built(
    storage: Any, dtype: torch.dtype, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> Tensor:
    empty = torch.empty(0, dtype=dtype, device=storage.device)
    return empty.set_(storage, offset, size, stride)


def _is_plain(tensor: Tensor) -> bool:
    """Whether it is nothing but a view of bytes in the host's memory."""
    return (
        type(tensor) is Tensor
        and tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and tensor.numel() > 0
        and not tensor.requires_grad
        and not tensor.is_nested
        and not tensor.is_quantized
        and not tensor.is_conj()
        and not tensor.is_neg()
    )


def _plain_tensors(value: Any) -> Iterator[Tensor]:
    """Those in Python's own containers."""
    if isinstance(value, Tensor):
        if _is_plain(value):
            yield value
    elif isinstance(value, (dict, list, tuple)) and not hasattr(value, "pin_memory"):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _plain_tensors(one)


def _covered(tensor: Tensor) -> Range:
    """The bytes of its storage that it may look at."""
    first = int(tensor.storage_offset()) * tensor.itemsize
    steps = zip(tensor.size(), tensor.stride(), strict=True)
    last = sum((length - 1) * step for length, step in steps) * tensor.itemsize
    return first - first % _LARGEST_ITEM_BYTES, first + last + tensor.itemsize


def _ranges(tensors: Iterator[Tensor]) -> dict[int, list[Range]]:
    """For each storage the ranges that are covered, joined where they meet."""
    covered: dict[int, set[Range]] = {}
    for tensor in tensors:
        covered.setdefault(tensor.untyped_storage().data_ptr(), set()).add(_covered(tensor))
    return {storage: list(_joined(sorted(ranges))) for storage, ranges in covered.items()}


def _joined(ranges: list[Range]) -> Iterator[Range]:
    begin, end = ranges[0]
    for another, its_end in ranges[1:]:
        if another > end:
            yield begin, end
            begin, end = another, its_end
        end = max(end, its_end)
    yield begin, end
