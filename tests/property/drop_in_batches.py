"""Batches of every structure, and all that can be told of a batch, in values that compare."""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class Pair(NamedTuple):
    x: Any
    y: Any


@dataclass
class Record:
    x: Any
    name: str


def nested(index: int) -> dict[str, Any]:
    """A sample of many types, all of which torch's own collate understands."""
    return {
        "pair": Pair(index, torch.tensor(index)),
        "list": [index / 3, bool(index % 2), str(index)],
        "tuple": (b"x" * (index % 3), np.float32(index), np.arange(3, dtype=np.int16) + index),
        "ordered": OrderedDict(b=np.bool_(index % 2), a=torch.empty(0)),
    }


def containers(x: Tensor) -> Any:
    return {"list": [x], "tuple": (x, ()), "pair": Pair(x, None), "ordered": OrderedDict(x=x)}


def plain_values(x: Tensor) -> Any:
    return [None, True, len(x), 1.5, float("nan"), "tëxt", b"\0", Record(x, "r"), {1, 2}, 1 + 2j]


def arrays(x: Tensor) -> Any:
    a = x.numpy().copy()
    return [
        a,
        a.T,
        a[:, ::2],
        np.float64(1),
        np.array(["a", "bc"]),
        np.array([None, "x"], dtype=object),
        np.zeros((0, 2)),
        np.array([(1, 2.0)], dtype=[("i", "i4"), ("f", "f8")]),
    ]


def ragged(x: Tensor) -> Any:
    return [torch.arange(length) for length in range(len(x) + 2)]


def edges(x: Tensor) -> Any:
    return [torch.tensor(3), torch.empty(0), torch.empty(2, 0), torch.empty(0, 3, dtype=torch.int8)]


def aliases(x: Tensor) -> Any:
    pair = [x[:1], x.view(-1)]
    return {
        "whole": x,
        "same": x,
        "views": pair,
        "again": pair,
        "bytes": x.untyped_storage().nbytes(),
    }


def strides(x: Tensor) -> Any:
    return [x.t(), x[:, ::2], x[:1].expand(4, -1), x.view(-1)[1:], x.clone().t()[1:]]


def kinds(x: Tensor) -> Any:
    dtypes = (
        torch.bfloat16,
        torch.float16,
        torch.float64,
        torch.uint8,
        torch.uint16,
        torch.bool,
        torch.complex64,
    )
    return [x.to(dtype) for dtype in dtypes]


def gradients(x: Tensor) -> Any:
    return [x.clone().requires_grad_(), torch.nn.Parameter(x.clone()), x.clone()]


def sparse(x: Tensor) -> Any:
    return [x.to_sparse(), x.clone()]


STRUCTURES: tuple[Callable[[Tensor], Any], ...] = (
    containers,
    plain_values,
    arrays,
    ragged,
    edges,
    aliases,
    strides,
    kinds,
    gradients,
    sparse,
)


@dataclass(frozen=True)
class Structured:
    """A collate that builds these structures out of the samples."""

    structures: tuple[Callable[[Tensor], Any], ...]

    def __call__(self, samples: Any) -> Any:
        given = samples if isinstance(samples, list) else [samples]
        x = torch.stack([one["x"] for one in given])
        return [given, *(one(x.clone()) for one in self.structures)]


class Telling:
    """What can be told of a batch, in values that compare.

    Of objects that occur twice it says so, and of tensors which share their memory, with the bytes
    between their beginnings.
    """

    def __init__(self, batch: Any) -> None:
        self.seen: dict[int, int] = {}
        self.kept: list[Any] = []
        self.starts: dict[int, list[int]] = {}
        self.told = self.tell(batch)
        beginnings = [min(starts) for starts in self.starts.values()]
        self.shared = [
            [start - beginning for start in starts]
            for starts, beginning in zip(self.starts.values(), beginnings, strict=True)
        ]

    def tell(self, value: Any) -> Any:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        if isinstance(value, str | bytes | int | float | complex | np.generic) or value is None:
            return kind, repr(value)
        if id(value) in self.seen:
            return kind, "again", self.seen[id(value)]
        self.seen[id(value)] = len(self.seen)
        self.kept.append(value)  # so that no other object gets this id
        return kind, self.parts(value)

    def parts(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.tensor(value)
        if isinstance(value, np.ndarray):
            return self.array(value)
        if isinstance(value, dict):
            return [(name, self.tell(part)) for name, part in value.items()]
        if isinstance(value, list | tuple):
            return [self.tell(part) for part in value]
        if dataclasses.is_dataclass(value):
            return [
                (one.name, self.tell(getattr(value, one.name))) for one in dataclasses.fields(value)
            ]
        return repr(value)

    def tensor(self, value: Tensor) -> Any:
        about = (value.dtype, tuple(value.shape), value.requires_grad, value.is_leaf, value.layout)
        if value.layout is not torch.strided:
            return about, self.tensor(value._indices()), self.tensor(value._values())
        raw = value.detach()
        if raw.numel():
            self.starts.setdefault(raw.untyped_storage().data_ptr(), []).append(raw.data_ptr())
        flat = raw.contiguous().view(-1).view(torch.uint8)
        return about, value.stride(), flat.numpy().tobytes()

    def array(self, value: np.ndarray[Any, Any]) -> Any:
        content = value.tolist() if value.dtype.hasobject else value.tobytes()
        return str(value.dtype), value.shape, value.strides, value.flags.writeable, content


def tell(batch: Any) -> Any:
    """All that can be told of a batch."""
    telling = Telling(batch)
    return telling.told, telling.shared
