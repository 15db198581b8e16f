"""What is in a batch is counted, whatever it is made of, and nothing of it is changed or called."""

import weakref
from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from wellfed._engine.watch import content
from wellfed._engine.watch.content import MOST_NODES, leading, look

FOUR = torch.zeros(4)  # 16 bytes
Pair = namedtuple("Pair", ["x", "y"])


@dataclass
class Sample:
    image: Any
    label: Any = 1


class Slotted:
    __slots__ = ("absent", "x")

    def __init__(self, x: Any) -> None:
        self.x = x


class Hostile:
    """Nothing of it may be asked for."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError


class Store(UserDict[str, Any]):
    """As PyTorch Geometric keeps a graph's tensors: with a way back to the graph."""

    def __init__(self, graph: "Graph", **tensors: Any) -> None:
        super().__init__(tensors)
        self.parent = weakref.ref(graph)


class Graph:
    def __init__(self, **tensors: Any) -> None:
        self.__dict__["_store"] = Store(self, **tensors)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_store"], name)


class Lazy(UserDict[str, Any]):
    """Reads its values from a slow place when they are asked for."""

    def __getitem__(self, key: str) -> Any:
        raise AssertionError("a value was fetched")


@pytest.mark.parametrize(
    ("batch", "tensors", "payload_bytes", "objects"),
    [
        (FOUR, 1, 16, 0),
        (3.5, 0, 0, 1),
        (None, 0, 0, 1),
        ("text", 0, 4, 1),
        (b"12", 0, 2, 1),
        (np.zeros(2), 0, 16, 1),
        ([FOUR, torch.zeros(2, dtype=torch.int64)], 2, 32, 1),
        ((FOUR, [1, 2]), 1, 16, 4),
        ({"x": FOUR, "y": "ab"}, 1, 16 + 1 + 1 + 2, 4),
        (OrderedDict(a=FOUR), 1, 17, 2),
        (Pair(FOUR, 1), 1, 16, 2),
        (Sample(FOUR), 1, 16, 2),
        (Slotted(FOUR), 1, 16, 1),
        ({1, 2}, 0, 0, 3),
        (torch.zeros(4).to_sparse(), 1, 16, 0),
        (torch.zeros(4, device="meta"), 1, 16, 0),
    ],
)
def test_every_kind_is_counted(batch: Any, tensors: int, payload_bytes: int, objects: int) -> None:
    assert look(batch) == (tensors, payload_bytes, objects)


def test_an_object_that_answers_nothing_is_one_object() -> None:
    assert look(Hostile()) == (0, 0, 1)
    assert look([Hostile(), FOUR]) == (1, 16, 2)


def test_what_is_there_twice_is_counted_once() -> None:
    inner = [FOUR]

    assert look([inner, inner, FOUR]) == (1, 16, 2)


def test_a_structure_that_contains_itself_ends() -> None:
    round_: list[Any] = [FOUR]
    round_.append(round_)
    sample = Sample(FOUR)
    sample.label = {"back": sample}

    assert look(round_) == (1, 16, 1)
    assert look(sample).tensors == 1


def test_a_graph_is_counted() -> None:
    found = look(Graph(x=torch.zeros(3, 2), edge_index=torch.zeros(2, 4, dtype=torch.long)))

    assert found.tensors == 2
    assert found.payload_bytes >= 24 + 64


def test_a_lazy_mapping_is_not_made_to_load() -> None:
    lazy = Lazy()
    lazy.data["x"] = FOUR

    assert look(lazy).tensors == 1


def test_a_tensor_of_a_users_own_type_is_not_called() -> None:
    calls: list[Any] = []

    class Telling(torch.Tensor):
        @classmethod
        def __torch_function__(
            cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            calls.append(func)
            parent: Any = super()
            return parent.__torch_function__(func, types, args, kwargs or {})

    batch = torch.zeros(4).as_subclass(Telling)
    calls.clear()

    assert look([batch]) == (1, 16, 1)
    assert calls == []


@pytest.mark.parametrize(
    "batch",
    [
        list(range(1_000_000)),
        dict.fromkeys(range(500_000), 0.5),
        [[k] for k in range(100_000)],
        [Slotted(k) for k in range(100_000)],
    ],
    ids=["numbers", "mapping", "lists", "objects"],
)
def test_a_huge_batch_costs_no_more_than_its_first_nodes(
    batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = 0
    parts = content._parts

    def counted(node: Any, most: int) -> tuple[list[Any], int]:
        nonlocal entered
        held, more = parts(node, most)
        entered += 1 + len(held)
        return held, more

    monkeypatch.setattr(content, "_parts", counted)

    found = look(batch)

    assert entered <= 3 * MOST_NODES
    assert len(batch) <= found.objects <= 2 * len(batch) + 1 + MOST_NODES


# -- the leading dimension


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (torch.zeros(16, 3), 16),
        (np.zeros((4, 2)), 4),
        ([torch.zeros(5), torch.zeros(6)], 5),
        ({"label": torch.tensor(1), "names": ["a"] * 3, "image": torch.zeros(8, 3)}, 8),
        (Sample(image=(torch.zeros(7),)), 7),
        (Graph(x=torch.zeros(9, 2)), 9),
        (torch.tensor(3), -1),
        ("text", -1),
        (None, -1),
        ([0] * 10_000, -1),
    ],
)
def test_the_leading_dimension_is_that_of_the_first_tensor(batch: Any, expected: int) -> None:
    assert leading(batch) == expected


def test_a_hostile_object_has_no_leading_dimension() -> None:
    assert leading(Hostile()) == -1
    assert leading([Hostile(), torch.zeros(3)]) == 3
