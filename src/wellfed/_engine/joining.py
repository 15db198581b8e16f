"""Parts of a batch joined to what torch's `default_collate` gives for all of its samples at once.

Where it is not sure that the two are equal, bit for bit, nothing is joined: the batch is then made
again as a whole.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Unfit", "joined"]


class Unfit(Exception):
    """The parts do not make up a batch."""


def joined(parts: list[Any]) -> Any:
    """The batch.

    Args:
        parts: what `default_collate` gave for consecutive samples, in order; two or more.

    Raises:
        Unfit: they differ in more than their samples, or are of a kind that is not known here.
    """
    first = parts[0]
    kind = type(first)
    if any(type(part) is not kind for part in parts):
        raise Unfit
    if kind is Tensor:
        return _stacked(parts)
    # A column of texts is left as it comes, list or tuple; columns themselves are no texts.
    if kind in (list, tuple) and all(type(one) in (str, bytes) for part in parts for one in part):
        return kind(one for part in parts for one in part)
    if kind is dict:
        if any(list(part) != list(first) for part in parts):
            raise Unfit
        return {key: joined([part[key] for part in parts]) for key in first}
    if kind in (list, tuple) or (issubclass(kind, tuple) and hasattr(kind, "_fields")):
        return _in_sequence(parts, kind)
    raise Unfit


def _in_sequence(parts: list[Sequence[Any]], kind: Any) -> Any:
    if len({len(part) for part in parts}) > 1:
        raise Unfit
    columns = [joined(list(column)) for column in zip(*parts, strict=True)]
    return kind(*columns) if hasattr(kind, "_fields") else kind(columns)


def _stacked(parts: list[Tensor]) -> Tensor:
    shapes = {(part.dtype, part.shape[1:], part.requires_grad) for part in parts}
    if len(shapes) > 1 or not all(_is_plain(part) for part in parts):
        raise Unfit
    return torch.cat(parts)


def _is_plain(part: Tensor) -> bool:
    return (
        part.ndim > 0
        and part.is_contiguous()
        and not part.requires_grad
        and not part.is_conj()
        and not part.is_neg()
    )
