"""Rows of tensors are, bit for bit, what torch stacks of single samples; errors are torch's."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from same import outcome, plain
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    Dataset,
    StackDataset,
    Subset,
    TensorDataset,
    default_collate,
)
from torch.utils.data._utils.collate import default_collate_fn_map
from torch.utils.data._utils.fetch import _MapDatasetFetcher

from wellfed._engine import rows as rows_module
from wellfed._engine.rows import rows_of
from wellfed.job import Job

ROWS = 12


def job_of(dataset: Any, **changes: Any) -> Job:
    given = {"dataset": dataset, "batch_sampler": [[0]], "collate": default_collate}
    return Job(**{**given, **changes})


def torchs(dataset: Any) -> Callable[[Any], Any]:
    fetcher: Any = _MapDatasetFetcher
    return fetcher(dataset, True, default_collate, False).fetch  # type: ignore[no-any-return]


def ours(dataset: Any) -> Callable[[Any], Any]:
    made = rows_of(job_of(dataset))
    assert made is not None
    return made


def numbers(*shape: int) -> Tensor:
    return torch.arange(int(np.prod(shape)), dtype=torch.float32).reshape(shape)


def pair() -> TensorDataset:
    return TensorDataset(numbers(ROWS, 3), torch.arange(ROWS))


@pytest.fixture
def never_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails a test in which a batch is left to torch."""

    def refuse(job: Job) -> Callable[[Any], Any]:
        def fail(indices: Any) -> Any:
            raise AssertionError(f"{indices} were left to torch")

        return fail

    monkeypatch.setattr(rows_module, "fetch_of", refuse)


LAYOUTS: dict[str, Callable[[], Tensor]] = {
    "one dimension": lambda: numbers(ROWS),
    "two dimensions": lambda: numbers(ROWS, 5),
    "images": lambda: numbers(ROWS, 3, 4, 4),
    "images of one channel": lambda: numbers(ROWS, 1, 4, 4),
    "channels last": lambda: numbers(ROWS, 3, 4, 4).to(memory_format=torch.channels_last),
    "one channel last": lambda: numbers(ROWS, 1, 4, 4).to(memory_format=torch.channels_last),
    "clips": lambda: numbers(ROWS, 2, 3, 4, 4),
    "transposed": lambda: numbers(5, ROWS).t(),
    "every other column": lambda: numbers(ROWS, 8)[:, ::2],
    "every other row": lambda: numbers(2 * ROWS, 3)[::2],
    "expanded rows": lambda: numbers(1, 3).expand(ROWS, 3),
    "expanded columns": lambda: numbers(ROWS, 1).expand(ROWS, 3),
    "no columns": lambda: numbers(ROWS, 0),
    "nothing at all": lambda: numbers(ROWS, 2, 0, 3),
    "offset": lambda: numbers(ROWS + 2, 3)[2:],
    "shared memory": lambda: numbers(ROWS, 3).share_memory_(),  # type: ignore[no-untyped-call]
    "made in inference mode": torch.inference_mode()(lambda: numbers(ROWS, 3)),
}

BATCHES: list[Any] = [
    [0],
    [3, 1, 2],
    [5, 5, 5],
    list(range(ROWS)),
    torch.tensor([7, 0, 7]),
    range(4),
    range(3, 9),
    range(1, 10, 3),
    [np.int64(2), np.int32(1)],
]


@pytest.mark.parametrize("batch", BATCHES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.usefixtures("never_torch")
def test_rows_of_every_layout_are_those_that_torch_stacks(layout: str, batch: Any) -> None:
    dataset = TensorDataset(LAYOUTS[layout](), torch.arange(ROWS))

    assert outcome(ours(dataset), batch) == outcome(torchs(dataset), batch)


@pytest.mark.parametrize("batch", BATCHES, ids=str)
@pytest.mark.parametrize(
    "values",
    [
        numbers(ROWS, 2, 3, 3, 5).permute(0, 1, 4, 2, 3),
        numbers(ROWS, 2, 3, 3, 1).permute(0, 1, 4, 2, 3),
        numbers(ROWS, 3, 2, 2, 2).to(memory_format=torch.channels_last_3d),
        numbers(ROWS, 2, 2, 2, 2, 5).permute(0, 1, 5, 2, 3, 4),
    ],
    ids=lambda values: str(values.stride()),
)
def test_where_torch_keeps_the_channels_last_so_do_we(values: Tensor, batch: Any) -> None:
    dataset = TensorDataset(torch.arange(ROWS))
    ready = ours(dataset), torchs(dataset)
    dataset.tensors = (values,)

    assert outcome(ready[0], batch) == outcome(ready[1], batch)


FEW_BITS = {"bits", "int1", "int2", "int3", "int4", "int5", "int6", "int7", "qint", "quint"}
DTYPES = sorted(
    {
        kind
        for kind in vars(torch).values()
        if isinstance(kind, torch.dtype)
        and not any(
            str(kind).removeprefix("torch.u").removeprefix("torch.").startswith(few)
            for few in FEW_BITS
        )
    },
    key=str,
)


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
def test_rows_of_every_dtype_are_those_that_torch_stacks(dtype: torch.dtype, columns: int) -> None:
    row_bytes = columns * dtype.itemsize
    stored = torch.arange(ROWS * row_bytes, dtype=torch.uint8).remainder(2).view(ROWS, -1)
    values = stored.view(dtype)
    dataset = TensorDataset(values if columns > 1 else values[:, 0])

    for batch in ([3, 1, 1], range(2, 5)):
        assert outcome(ours(dataset), batch) == outcome(torchs(dataset), batch)


PARTS: dict[str, Callable[[], Any]] = {
    "of a list": lambda: Subset(pair(), [3, 1, 4, 1, 5, 9, 2, 6]),
    "of a tuple": lambda: Subset(pair(), (3, 1, 4, 1, 5, 9, 2, 6)),
    "of a range": lambda: Subset(pair(), range(2, 12)),
    "of a range with steps": lambda: Subset(pair(), range(11, 0, -1)),
    "of a tensor": lambda: Subset(pair(), torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])),  # type: ignore[arg-type]
    "of an array": lambda: Subset(pair(), np.array([3, 1, 4, 1, 5, 9, 2, 6])),  # type: ignore[arg-type]
    "of a part": lambda: Subset(Subset(pair(), range(1, 12)), [0, 2, 4, 6, 8, 9, 10, 1]),
    "of one": lambda: ConcatDataset([pair()]),
    "of two": lambda: ConcatDataset([pair(), pair()]),
    "of uneven ones": lambda: ConcatDataset([Subset(pair(), [4]), Subset(pair(), []), pair()]),
    "of parts of wholes": lambda: Subset(
        ConcatDataset([pair(), ConcatDataset([pair(), Subset(pair(), [3, 1])])]),
        [25, 0, 12, 13, 24, 11, 1, 2],
    ),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.usefixtures("never_torch")
def test_rows_of_parts_and_wholes_are_those_that_torch_stacks(part: str) -> None:
    dataset = PARTS[part]()
    batch = [0, 5, 3, 7, 7, 1, 2, 4, 6] * 5

    assert outcome(ours(dataset), batch) == outcome(torchs(dataset), batch)
    assert outcome(ours(dataset), torch.tensor(batch)) == outcome(torchs(dataset), batch)


@pytest.mark.parametrize("part", sorted(set(PARTS) - {"of uneven ones", "of parts of wholes"}))
@pytest.mark.usefixtures("never_torch")
def test_runs_of_parts_and_wholes_are_those_that_torch_stacks(part: str) -> None:
    dataset = PARTS[part]()

    for batch in (range(2, 3), range(8)):
        assert outcome(ours(dataset), batch) == outcome(torchs(dataset), batch)


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


@torch.inference_mode()
def test_batches_made_in_inference_mode_are_those_of_torch() -> None:
    dataset = pair()

    for batch in ([3, 1], range(2, 5)):
        assert outcome(ours(dataset), batch) == outcome(torchs(dataset), batch)


def test_each_batch_has_memory_of_its_own() -> None:
    dataset = pair()
    for batch in ([1, 2], range(1, 3), range(ROWS)):
        first, again = ours(dataset)(batch), ours(dataset)(batch)
        first[0].zero_()

        assert not torch.equal(again[0], first[0])
        assert torch.equal(dataset.tensors[0], numbers(ROWS, 3))


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


def test_the_trainers_generators_are_left_alone() -> None:
    before = torch.get_rng_state()

    ours(ConcatDataset([pair(), pair()]))([1, 20, 3, 4, 5, 6, 7, 8])

    assert torch.equal(torch.get_rng_state(), before)


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


def test_batches_are_plain_lists() -> None:
    assert plain(ours(pair())([0]))[0] is list
