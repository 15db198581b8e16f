"""Rows of tensors are, bit for bit, what torch stacks of single samples."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from row_sets import PARTS, ROWS, numbers, ours, pair, torchs
from same import outcome, plain
from torch import Tensor
from torch.utils.data import ConcatDataset, TensorDataset

from wellfed._engine import rows as rows_module
from wellfed.job import Job


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


@torch.inference_mode()
def test_batches_made_in_inference_mode_are_those_of_torch() -> None:
    dataset = pair()

    for batch in ([3, 1], range(2, 5)):
        assert outcome(ours(dataset), batch) == outcome(torchs(dataset), batch)


def test_long_slices_are_those_that_torch_stacks() -> None:
    dataset = TensorDataset(numbers(300, 1000))

    assert outcome(ours(dataset), range(10, 290)) == outcome(torchs(dataset), range(10, 290))


def test_each_batch_has_memory_of_its_own() -> None:
    dataset = pair()
    for batch in ([1, 2], range(1, 3), range(ROWS)):
        first, again = ours(dataset)(batch), ours(dataset)(batch)
        first[0].zero_()

        assert not torch.equal(again[0], first[0])
        assert torch.equal(dataset.tensors[0], numbers(ROWS, 3))


def test_the_trainers_generators_are_left_alone() -> None:
    before = torch.get_rng_state()

    ours(ConcatDataset([pair(), pair()]))([1, 20, 3, 4, 5, 6, 7, 8])

    assert torch.equal(torch.get_rng_state(), before)


def test_batches_are_plain_lists() -> None:
    assert plain(ours(pair())([0]))[0] is list
