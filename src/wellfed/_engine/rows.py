"""Batches of tensors in memory, read row by row no more: one `index_select` per tensor and batch.

torch reads such a dataset sample by sample and stacks the samples. The rows of a batch are the
same bytes; here they are copied at once. Everything is looked up anew for each batch (tensors,
indices, sizes), because the user may change all of it between two batches; whatever is unusual
about it is left to torch's own fetcher, with its values, its errors and their texts.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    Subset,
    TensorDataset,
    dataset,
    default_collate,
    get_worker_info,
)
from torch.utils.data._utils import collate

from wellfed._engine.indices import Indices
from wellfed._engine.torchs import fetch_of, is_its_own
from wellfed.job import Job

__all__ = ["rows_of"]

# What a sampler may yield as an index. A bool is none: torch takes it for a mask.
INTEGERS = frozenset({int, np.int64, np.int32})

# Joining the rows of one more part costs about as much as reading this many samples one by one.
SAMPLES_PER_PART = 4

# Samples of four or five dimensions may have their channels last, and torch.stack keeps that.
CHANNELS_MAY_BE_LAST = 5

# A slice of fewer takes narrow_copy half the time of clone; of 200,000, on two cores, a third more.
FEW_NUMBERS = 100_000


class _Unusual(Exception):
    """Something that only torch's own way is sure to get right."""


def rows_of(job: Job) -> Callable[[Any], Any] | None:
    """A function from the indices of a batch to that batch, bit for bit as torch makes it.

    Returns:
        None unless the dataset is exactly torch's TensorDataset, or a Subset or ConcatDataset of
        such, and the collate function is torch's own. The indices may be a list, a tensor of
        dtype int64, or a range.
    """
    if not job.batched or job.iterable or job.collate is not default_collate:
        return None
    # In a worker process torch stacks into shared memory.
    if not (_is_plain(job.dataset) and _collates_as_torch_does()) or get_worker_info() is not None:
        return None
    fetch = fetch_of(job)

    def rows(indices: Any) -> Any:
        try:
            return _columns(job.dataset, _as_indices(indices))
        except Exception:  # whatever it was, torch's own way has the last word
            pass
        return fetch(_as_torch_yields(indices))

    return rows


def _is_plain(data: Any) -> bool:
    """Whether torch's own code, and nothing else, reads a sample of it."""
    kind = type(data)
    if kind not in (TensorDataset, ConcatDataset, Subset):
        return False
    if not is_its_own(data, "__getitem__", dataset):
        return False
    if kind is Subset:
        return is_its_own(data, "__getitems__", dataset) and _is_plain(data.dataset)
    if hasattr(data, "__getitems__"):
        return False
    if kind is ConcatDataset:
        return all(map(_is_plain, data.datasets))
    return all(map(_is_dense, data.tensors))


def _collates_as_torch_does() -> bool:
    """Whether nobody told torch to collate tuples or tensors in another way."""
    registered = collate.default_collate_fn_map
    if registered.get(Tensor) is not collate.collate_tensor_fn:
        return False
    return not any(isinstance((), kind) for kind in registered)


def _is_dense(tensor: Any) -> TypeGuard[Tensor]:
    """Whether rows of it are bytes in the trainer's memory and nothing more."""
    return (
        type(tensor) is Tensor
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and tensor.ndim > 0
        and not (
            tensor.requires_grad
            or tensor.is_quantized
            or tensor.is_nested
            or tensor.is_conj()
            or tensor.is_neg()
        )
        and (tensor.ndim < CHANNELS_MAY_BE_LAST or _is_in_order(tensor))
    )


def _is_in_order(tensor: Tensor) -> bool:
    """Whether each sample has exactly the strides of a contiguous tensor."""
    expected = 1
    for size, stride in zip(tensor.shape[:0:-1], tensor.stride()[:0:-1], strict=True):
        if stride != expected:
            return False
        expected *= max(size, 1)
    return True


def _as_indices(indices: Any) -> Any:
    """As a tensor, or as a range that can be sliced; never empty."""
    kind = type(indices)
    if kind is list:
        return _as_tensor(indices)
    if kind is range and indices:
        in_order = indices.step == 1 and indices.start >= 0
        return indices if in_order else torch.arange(*_ends(indices))
    if kind is Tensor and indices.dtype is torch.int64 and indices.ndim == 1 and indices.numel():
        return indices
    raise _Unusual


def _as_torch_yields(indices: Any) -> Any:
    """The list that torch's sampler would have yielded; a user's own kind of index as it is."""
    if type(indices) is range:
        return list(indices)
    if type(indices) is Tensor and indices.dtype is torch.int64 and indices.ndim == 1:
        return indices.tolist()
    return indices


def _as_tensor(numbers: list[Any]) -> Tensor:
    if not INTEGERS.issuperset(map(type, numbers)):
        raise _Unusual
    # Four times as fast as torch.tensor(numbers). The tensor keeps the array alive.
    return torch.frombuffer(array("q", numbers), dtype=torch.int64)


def _ends(span: range) -> tuple[int, int, int]:
    return span.start, span.stop, span.step


def _columns(data: Any, indices: Indices) -> list[Tensor]:
    """What default_collate makes of these samples: a list, one tensor for each of the dataset."""
    kind = type(data)
    if kind is TensorDataset:
        return [_rows(tensor, indices) for tensor in data.tensors]
    if kind is Subset:
        return _columns(data.dataset, _looked_up(data.indices, indices))
    if kind is ConcatDataset:
        return _from_parts(data, indices)
    raise _Unusual


def _rows(tensor: Any, indices: Indices) -> Tensor:
    if not _is_dense(tensor):
        raise _Unusual
    if type(indices) is not range:
        # Raises for negative indices too, which are then torch's to count from the end.
        return torch.index_select(tensor, 0, indices)
    if tensor.is_contiguous() and len(indices) * tensor.stride(0) < FEW_NUMBERS:
        return torch.narrow_copy(tensor, 0, indices.start, len(indices))
    # narrow_copy uses one thread, and copies the whole of a tensor that is not contiguous first.
    return torch.clone(_within(tensor, indices), memory_format=torch.contiguous_format)


def _within(sequence: Any, span: range) -> Any:
    """A slice that is all there: a slice alone would be cut off at the end without a word."""
    if span.stop > len(sequence):
        raise _Unusual
    return sequence[span.start : span.stop]


def _looked_up(mapping: Any, indices: Indices) -> Any:
    """The indices in the dataset below, of these in a Subset."""
    kind = type(mapping)
    if kind is Tensor and _is_dense(mapping):
        picked = _within(mapping, indices) if type(indices) is range else mapping[indices]
        return _as_indices(picked)
    if kind is np.ndarray and mapping.dtype == np.int64 and mapping.ndim == 1:
        numbers = np.arange(*_ends(indices)) if type(indices) is range else indices.numpy()
        return torch.from_numpy(mapping.take(numbers))
    if kind not in (list, tuple, range):
        raise _Unusual
    if type(indices) is range:
        picked = _within(mapping, indices)
        return _as_indices(picked if kind is range else list(picked))
    return _as_tensor([mapping[index] for index in indices.tolist()])


def _from_parts(data: Any, indices: Indices) -> list[Tensor]:
    parts, ends = data.datasets, data.cumulative_sizes
    if type(indices) is range:
        number = bisect_right(ends, indices.start)
        begin = ends[number - 1] if number else 0
        if indices.stop <= ends[number]:
            return _columns(parts[number], range(indices.start - begin, indices.stop - begin))
        indices = torch.arange(*_ends(indices))
    if len(parts) * SAMPLES_PER_PART > len(indices):
        raise _Unusual
    ordered, places = indices.sort()
    begins = [0, *ends]
    bounds = torch.searchsorted(ordered, torch.tensor(begins)).tolist()
    if bounds[0] > 0 or bounds[-1] < len(ordered):
        raise _Unusual
    pieces = [
        _columns(part, ordered[start:stop] - begin)
        for part, begin, (start, stop) in zip(parts, begins, pairwise(bounds), strict=False)
        if start < stop
    ]
    back = places.argsort()
    return [_put_back(column, back) for column in zip(*pieces, strict=True)]


def _put_back(pieces: tuple[Tensor, ...], back: Tensor) -> Tensor:
    """The rows of all pieces, in the order of the batch."""
    if len({(piece.dtype, piece.shape[1:]) for piece in pieces}) > 1:
        raise _Unusual
    return torch.cat(pieces).index_select(0, back)
