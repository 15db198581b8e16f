"""Whatever a batch is made of arrives as it was: bits, strides, types, and who shares what."""

import collections
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import hypothesis.strategies as st
import numpy as np
import torch
from hypothesis import given, settings

from describing import describe
from wiring import wired

DTYPES = [
    torch.uint8,
    torch.bool,
    torch.int16,
    torch.uint16,
    torch.int32,
    torch.uint64,
    torch.int64,
    torch.float8_e5m2,
    torch.bfloat16,
    torch.float16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.complex128,
]
REAL = (torch.float32, torch.float64, torch.bfloat16, torch.complex64)


class Point(NamedTuple):
    x: Any
    y: Any


@dataclass
class Record:
    name: str
    value: Any


class Labelled(torch.Tensor):
    label: str


class Odd(collections.OrderedDict[str, Any]):
    """A mapping of the user's own."""


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Any dtype, few dimensions, any bits; below and above what stays in the slab."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    if draw(st.booleans()):
        shape = [*shape, draw(st.sampled_from([100, 1025]))]
    count = int(np.prod(shape, dtype=int)) * dtype.itemsize
    bits = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 256, count, dtype=np.uint8)
    data = torch.from_numpy(bits % 2 if dtype is torch.bool else bits)
    return (data.view(dtype) if count else torch.empty(0, dtype=dtype)).reshape(shape)


def marked(tensor: torch.Tensor) -> Labelled:
    value = tensor.as_subclass(Labelled)
    value.label = "kept"
    return value


VIEWS: list[Callable[[torch.Tensor], torch.Tensor]] = [
    lambda t: t,
    lambda t: t.detach(),
    lambda t: t.t() if t.dim() == 2 else t,
    lambda t: t[..., ::2] if t.dim() else t,
    lambda t: t[..., 1:] if t.dim() else t,
    lambda t: t[0] if t.dim() and len(t) else t,
    lambda t: t.unsqueeze(0).expand(3, *t.shape),
    lambda t: t.reshape(-1)[:0],
    lambda t: t.reshape(-1)[-1:],
    lambda t: t.conj(),
    lambda t: t.conj().imag if t.is_complex() else t,
    lambda t: t.view(torch.uint8) if t.dim() and t.stride(-1) == 1 and not t.is_conj() else t,
    lambda t: torch.nn.Parameter(t.detach(), requires_grad=t.dtype in REAL),
    lambda t: t.detach().requires_grad_(t.dtype in REAL),
    marked,
]


def arrays() -> st.SearchStrategy[Any]:
    kinds = st.sampled_from(["u1", "f4", "i8", "c16", "U3", "M8[s]", "O", "i4,f8"])
    sizes = st.sampled_from([0, 1, 7, 600])
    return st.builds(lambda kind, size: np.zeros(size, dtype=kind), kinds, sizes)


PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.sampled_from([b"x" * 5000, "y" * 5000]),
)


@st.composite
def batches(draw: st.DrawFn) -> Any:
    """Structures whose tensors are views of a few, so that much of it shares storage."""
    pool = draw(st.lists(tensors(), min_size=1, max_size=3))
    # By number: hypothesis prints what it samples from, and tensors are long.
    sources = st.integers(0, len(pool) - 1).map(lambda number: pool[number])
    views = st.tuples(sources, st.integers(0, len(VIEWS) - 1)).map(lambda it: VIEWS[it[1]](it[0]))
    leaves = st.one_of(sources, views, views, arrays(), PLAIN)
    names = st.text(max_size=3)

    def nest(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        named = st.dictionaries(names, inner, max_size=4)
        return st.one_of(
            st.lists(inner, max_size=5),
            st.tuples(inner, inner),
            named,
            named.map(Odd),
            named.map(lambda items: collections.defaultdict(list, items)),
            st.builds(Point, inner, inner),
            st.builds(Record, names, inner),
            inner.map(lambda value: [value, value]),
        )

    return draw(st.recursive(leaves, nest, max_leaves=12))


@settings(max_examples=300)
@given(batches(), st.booleans())
def test_a_batch_arrives_as_it_was(batch: Any, private: bool) -> None:
    sent = describe(batch)
    with wired() as wire:
        arrived = wire.cross(batch, private=private)

        assert describe(arrived) == sent


@settings(max_examples=100)
@given(st.lists(batches(), min_size=2, max_size=8), st.data())
def test_kept_batches_stay_as_they_were_while_slabs_go_round(
    stream: list[Any], data: st.DataObject
) -> None:
    kept: list[tuple[Any, Any]] = []
    with wired() as wire:
        for batch in stream:
            kept.append((describe(batch), wire.cross(batch)))
            for _ in range(data.draw(st.integers(0, len(kept)))):
                kept.pop(data.draw(st.integers(0, len(kept) - 1)))
            wire.overwrite(6000, rounds=1)

            assert [describe(value) for _, value in kept] == [sent for sent, _ in kept]

        kept.clear()
        del batch
        wire.give_back()

        assert wire.shelf.leased_bytes == 0
