"""Parts joined are what torch's collate gives for all of the samples at once, or are not joined."""

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from same import plain
from torch.utils.data import default_collate

from wellfed._engine.joining import Unfit, joined


class Pair(NamedTuple):
    image: Any
    label: Any


def told(batch: Any) -> Any:
    """All that can be seen of a batch; where its memory lies is no part of that."""
    if isinstance(batch, torch.Tensor):
        return plain(batch)
    if isinstance(batch, dict):
        return type(batch), [(key, told(one)) for key, one in batch.items()]
    if isinstance(batch, (list, tuple)):
        return type(batch), [told(one) for one in batch]
    return type(batch), batch


LEAVES: dict[str, Callable[[int], Any]] = {
    "float tensor": lambda n: torch.full((2, 3), float(n)),
    "scalar tensor": lambda n: torch.tensor(n, dtype=torch.int16),
    "half tensor": lambda n: torch.full((4,), n, dtype=torch.bfloat16),
    "empty tensor": lambda n: torch.zeros(0, 2),
    "columns": lambda n: torch.full((3, 2), n).t(),
    "ragged tensor": lambda n: torch.zeros(1 + n % 2),
    "a leaf of autograd": lambda n: torch.zeros(2, requires_grad=True),
    "complex": lambda n: torch.full((2,), complex(n, 1)),
    "conjugated": lambda n: torch.full((2,), complex(n, 1)).conj(),
    "array": lambda n: np.full((2, 2), n, dtype=np.float32),
    "empty array": lambda n: np.zeros((0, 2)),
    "numpy scalar": lambda n: np.float32(n),
    "numpy int": np.int8,
    "int": int,
    "float": float,
    "int or float": lambda n: float(n) if n % 3 == 1 else n,
    "bool": lambda n: n % 2 == 0,
    "big int": lambda n: 2**40 + n,
    "text": str,
    "bytes": lambda n: bytes([n]),
    "none": lambda n: None,
    "object": lambda n: object(),
}
BATCHES: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "dict": lambda held: {str(n): one for n, one in enumerate(held)},
    "named": lambda held: Pair(held[0], held[-1]),
    "nested": lambda held: {"a": held, "b": (held[0], {"c": held[-1]})},
    "ordered": lambda held: OrderedDict(enumerate(held)),
    "default": lambda held: defaultdict(int, enumerate(held)),
    "alone": lambda held: held[0],
    "uneven": lambda held: held,
}


def outcome(parts: list[list[Any]]) -> Any:
    """The joined batch; None where it is refused, or torch cannot collate a part."""
    try:
        collated = [default_collate(part) for part in parts]
    except Exception:
        return None
    try:
        return joined(collated)
    except Unfit:
        return None


def split(samples: list[Any], size: int) -> list[list[Any]]:
    return [samples[at : at + size] for at in range(0, len(samples), size)]


@settings(max_examples=300, deadline=None)
@given(
    leaves=st.lists(st.sampled_from(sorted(LEAVES)), min_size=1, max_size=3),
    structure=st.sampled_from(sorted(BATCHES)),
    count=st.integers(2, 7),
    parts=st.integers(2, 4),
)
def test_never_joins_to_anything_else_than_torchs_batch(
    leaves: list[str], structure: str, count: int, parts: int
) -> None:
    samples = [BATCHES[structure]([LEAVES[leaf](n) for leaf in leaves]) for n in range(count)]
    if structure == "uneven":
        samples[-1] = samples[-1] * 2

    batch = outcome(split(samples, max(1, -(-count // parts))))

    if batch is not None and count > -(-count // parts):
        assert told(batch) == told(default_collate(samples))


USUAL = [
    "float tensor",
    "scalar tensor",
    "half tensor",
    "empty tensor",
    "array",
    "numpy scalar",
    "int",
    "float",
    "bool",
    "big int",
    "text",
    "bytes",
]


@pytest.mark.parametrize("leaf", USUAL)
@pytest.mark.parametrize("structure", ["list", "tuple", "dict", "named", "nested", "alone"])
def test_what_is_usual_is_joined(leaf: str, structure: str) -> None:
    samples = [BATCHES[structure]([LEAVES[leaf](n), LEAVES["int"](n)]) for n in range(5)]

    batch = outcome(split(samples, 2))

    assert told(batch) == told(default_collate(samples))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 4)),
        (torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.float64)),
        (torch.zeros(2, requires_grad=True), torch.zeros(2)),
        (torch.zeros(()), torch.zeros(())),
        (torch.zeros(3, 2).t(), torch.zeros(3, 2).t()),
        (torch.zeros(2), [torch.zeros(2)]),
        ({"a": torch.zeros(2)}, {"b": torch.zeros(2)}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([torch.zeros(2)], [torch.zeros(2), torch.zeros(2)]),
        (OrderedDict(a=torch.zeros(2)), OrderedDict(a=torch.zeros(2))),
        (object(), object()),
        (3, 4),
        (None, None),
        (torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2))),
        (torch.zeros(2).to_sparse(), torch.zeros(2).to_sparse()),
    ],
    ids=str,
)
def test_what_is_not_sure_is_not_joined(one: Any, other: Any) -> None:
    with pytest.raises(Unfit):
        joined([one, other])
