"""What is unusual about tensors, indices or classes is left to torch, errors and all."""

from typing import Any

import numpy as np
import pytest
import torch
from row_sets import PARTS, ROWS, job_of, numbers, ours, pair, torchs
from same import outcome
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, StackDataset, Subset, TensorDataset
from torch.utils.data._utils.collate import default_collate_fn_map

from wellfed._engine.rows import rows_of

ODD_BATCHES: list[Any] = [
    [],
    (),
    (1, 2),
    [-1, 0],
    [-ROWS],
    [-ROWS - 1],
    [0, ROWS],
    [99],
    range(0),
    range(8),
    range(10, 40),
    range(-3, 2),
    range(5, 2, -1),
    [True, False],
    [np.bool_(True)],
    [1.5],
    ["a"],
    [None],
    [2**70],
    [[1, 2], [3, 4]],
    [torch.tensor(3), torch.tensor(1)],
    [torch.tensor(True)],
    [slice(0, 2), slice(2, 4)],
    torch.tensor([-1, 2]),
    torch.tensor([99]),
    torch.tensor([], dtype=torch.int64),
    torch.tensor([True, False]),
    torch.tensor([1, 2], dtype=torch.uint8),
    torch.tensor([1, 2], dtype=torch.int32),
    torch.tensor([[1, 2], [3, 4]]),
    torch.tensor(3),
    np.array([1, 2]),
    None,
    3,
]


@pytest.mark.parametrize("batch", ODD_BATCHES, ids=str)
@pytest.mark.parametrize("part", ["itself", *PARTS])
def test_odd_batches_are_taken_or_refused_as_torch_does(part: str, batch: Any) -> None:
    dataset = pair() if part == "itself" else PARTS[part]()

    assert outcome(ours(dataset), batch) == outcome(torchs(dataset), batch)


# -- what the user changes between two batches


def grown(dataset: TensorDataset) -> None:
    dataset.tensors = (numbers(20, 2), torch.arange(20), torch.ones(20))


def changed_in_place(dataset: TensorDataset) -> None:
    dataset.tensors[0][3] = 77.0


def one_shorter(dataset: TensorDataset) -> None:
    dataset.tensors = (numbers(ROWS, 3), torch.arange(4))


def a_gradient_wanted(dataset: TensorDataset) -> None:
    dataset.tensors[0].requires_grad_()


def emptied(dataset: TensorDataset) -> None:
    dataset.tensors = ()


def a_list(dataset: TensorDataset) -> None:
    dataset.tensors = list(dataset.tensors)  # type: ignore[assignment]


def not_a_tensor(dataset: TensorDataset) -> None:
    dataset.tensors = (dataset.tensors[0], list(range(ROWS)))  # type: ignore[assignment]


def a_scalar(dataset: TensorDataset) -> None:
    dataset.tensors = (torch.tensor(3.0),)


CHANGES = [
    grown,
    changed_in_place,
    one_shorter,
    a_gradient_wanted,
    emptied,
    a_list,
    not_a_tensor,
    a_scalar,
]


@pytest.mark.parametrize("batch", [[3, 11, 0], range(1, 6), [15]], ids=str)
@pytest.mark.parametrize("change", CHANGES)
def test_follows_what_the_user_does_to_the_tensors(change: Any, batch: Any) -> None:
    dataset = pair()
    ready = ours(dataset), torchs(dataset)
    change(dataset)

    assert outcome(ready[0], batch) == outcome(ready[1], batch)


def test_follows_what_the_user_does_to_the_indices() -> None:
    indices = [3, 1, 4]
    dataset = Subset(pair(), indices)
    ready = ours(dataset), torchs(dataset)
    indices[0] = 7
    indices.append(11)

    assert outcome(ready[0], [0, 3]) == outcome(ready[1], [0, 3])
    dataset.indices = range(5)
    assert outcome(ready[0], range(4)) == outcome(ready[1], range(4))
    dataset.indices = [True, False]
    assert outcome(ready[0], [0, 1]) == outcome(ready[1], [0, 1])
    dataset.dataset = [10, 11]  # type: ignore[assignment]
    assert outcome(ready[0], [0, 1]) == outcome(ready[1], [0, 1])


@pytest.mark.parametrize(
    "other",
    [
        TensorDataset(numbers(ROWS, 4), torch.arange(ROWS)),
        TensorDataset(numbers(ROWS, 3).double(), torch.arange(ROWS)),
        TensorDataset(numbers(ROWS, 3)),
    ],
)
def test_parts_that_do_not_fit_together_are_left_to_torch(other: Any) -> None:
    dataset: Any = ConcatDataset([pair(), other])
    batch = [1, 2, 13, 14, 3, 4, 15, 16]

    assert outcome(ours(dataset), batch) == outcome(torchs(dataset), batch)


# -- what is not ours to make


class OwnTensors(TensorDataset):
    pass


class OwnTensor(Tensor):
    pass


def with_getitems(dataset: Any) -> Any:
    dataset.__getitems__ = lambda indices: [(torch.tensor(1.0),)]
    return dataset


NOT_OURS: list[Any] = [
    range(3),
    OwnTensors(torch.zeros(3)),
    Subset(OwnTensors(torch.zeros(3)), [1]),
    ConcatDataset([pair(), OwnTensors(torch.zeros(3))]),
    StackDataset(pair(), pair()),
    [1, 2, 3],
    with_getitems(pair()),
    with_getitems(Subset(pair(), [1])),
    TensorDataset(torch.zeros(3).as_subclass(OwnTensor)),
    TensorDataset(torch.nn.Parameter(torch.zeros(3))),
    TensorDataset(torch.zeros(3, requires_grad=True)),
    TensorDataset(torch.zeros(3, dtype=torch.complex64).conj()),
    TensorDataset(torch.zeros(3, dtype=torch.complex64).conj().imag),
    TensorDataset(torch.zeros(3, 3).to_sparse()),
    TensorDataset(torch.zeros(3, 3, device="meta")),
]


@pytest.mark.parametrize("dataset", NOT_OURS, ids=lambda dataset: type(dataset).__name__)
def test_anything_but_torchs_own_dense_tensors_is_declined(dataset: Any) -> None:
    assert rows_of(job_of(dataset)) is None


def test_other_ways_of_batching_are_declined() -> None:
    assert rows_of(job_of(pair(), collate=list)) is None
    assert rows_of(job_of(pair(), batch_sampler=None)) is None


@pytest.mark.parametrize("kind", [tuple, object])
def test_a_collate_function_registered_for_samples_is_respected(
    kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(default_collate_fn_map, kind, lambda batch, collate_fn_map: batch)

    assert rows_of(job_of(pair())) is None


def test_a_collate_function_registered_for_tensors_is_respected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(default_collate_fn_map, Tensor, lambda batch, collate_fn_map: batch)

    assert rows_of(job_of(pair())) is None


def test_a_patched_dataset_class_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TensorDataset, "__getitem__", lambda self, index: index)

    assert rows_of(job_of(pair())) is None


def test_a_dataset_class_that_learned_to_fetch_many_is_respected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Dataset, "__getitems__", lambda self, indices: indices, raising=False)

    assert rows_of(job_of(pair())) is None
