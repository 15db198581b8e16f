"""The inline back end: what it takes on, and that it goes on as torch's own iterator does."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from same import plain
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, dataloader

from wellfed._engine.indices import bulk
from wellfed._engine.inline import Inline
from wellfed._engine.reading import read_job
from wellfed.job import Job
from wellfed.records import Plan
from wellfed.seams import Backend

PLAN = Plan(backend="inline")


class Squares(Dataset[int]):
    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> int:
        if index == 4:
            raise LookupError("sample 4 is broken")
        return index * index


class Countdown(IterableDataset[int]):
    def __init__(self) -> None:
        self.begun = 0

    def __iter__(self) -> Iterator[int]:
        self.begun += 1
        return iter(range(7, 0, -1))


def tensors() -> TensorDataset:
    return TensorDataset(torch.arange(20.0).reshape(10, 2), torch.arange(10))


def loader(dataset: Any = None, **options: Any) -> DataLoader[Any]:
    return DataLoader(dataset if dataset is not None else tensors(), **options)


def job_of(loader: Any, **changes: Any) -> Job:
    return Job(**{**{name: getattr(read_job(loader), name) for name in Job.__slots__}, **changes})


def indices_of(loader: Any) -> Iterator[Any]:
    return iter(loader._index_sampler)


def steps(batches: Iterator[Any], most: int = 20) -> list[Any]:
    """What each `next` gave or raised, until the second end."""
    seen: list[Any] = []
    while len(seen) < most and seen[-2:] != ["end", "end"]:
        try:
            seen.append(plain(next(batches)))
        except StopIteration:
            seen.append("end")
        except Exception as error:
            seen.append((type(error), str(error)))
    return seen


def ours(of: DataLoader[Any]) -> Iterator[Any]:
    return iter(Inline().open(read_job(of), PLAN, indices_of(of)))


def test_it_is_a_back_end() -> None:
    backend: Backend = Inline()

    assert backend.name == "inline"


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 3},
        {"batch_size": 3, "drop_last": True},
        {"batch_size": None},
        {"batch_size": 4, "collate_fn": tuple},
    ],
    ids=str,
)
@pytest.mark.parametrize("dataset", [Squares, Countdown, tensors])
def test_goes_on_as_torchs_own_iterator_does(dataset: Any, options: dict[str, Any]) -> None:
    of = loader(dataset(), **options)

    assert steps(ours(of)) == steps(iter(of))


def test_an_iterable_dataset_begins_when_the_stream_opens_and_at_each_restart() -> None:
    dataset = Countdown()
    of = loader(dataset, batch_size=3)

    stream = Inline().open(read_job(of), PLAN, indices_of(of))
    begun = [dataset.begun]
    next(stream)
    stream.restart(indices_of(of))
    begun.append(dataset.begun)

    assert begun == [1, 2]
    assert steps(stream) == steps(iter(of))


def test_a_restart_drops_what_is_left_of_the_epoch() -> None:
    of = loader(batch_size=4)
    stream = Inline().open(read_job(of), PLAN, indices_of(of))
    next(stream)
    stream.restart(indices_of(of))

    assert steps(stream) == steps(iter(of))


def test_nothing_is_read_ahead() -> None:
    read = []

    def indices() -> Iterator[list[int]]:
        for number in range(3):
            read.append(number)
            yield [number]

    stream = Inline().open(read_job(loader()), PLAN, indices())
    counts = [len(read), *(len(read) for _ in stream)]

    assert counts == [0, 1, 2, 3]


def test_a_closed_stream_is_at_its_end() -> None:
    of = loader(batch_size=4)
    stream = Inline().open(read_job(of), PLAN, indices_of(of))
    stream.close()
    stream.close()

    assert list(stream) == []


def test_a_fetcher_put_in_torchs_place_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fetcher:
        def fetch(self, indices: Any) -> Any:
            return ("theirs", indices)

    monkeypatch.setattr(
        dataloader._DatasetKind, "create_fetcher", staticmethod(lambda *args: Fetcher())
    )

    assert next(ours(loader(Squares(), batch_size=2))) == ("theirs", [0, 1])


def test_batches_read_in_bulk_are_those_of_torch() -> None:
    of = loader(batch_size=3, shuffle=True)
    torch.manual_seed(5)
    # torch draws a base seed first.
    torch.empty((), dtype=torch.int64).random_()
    indices = bulk(of.batch_sampler)
    assert indices is not None
    seen = steps(Inline().open(read_job(of), PLAN, indices))
    torch.manual_seed(5)

    assert seen == steps(iter(of))


# -- with logical workers


def test_rows_are_served_whatever_the_number_of_workers() -> None:
    assert Inline().refuses(read_job(loader(num_workers=2)), PLAN) is None


@pytest.mark.parametrize(
    ("job", "plan", "reason"),
    [
        (job_of(loader(), workers=2, worker_init=print), PLAN, "worker_init_fn"),
        (job_of(loader(Squares()), workers=2), PLAN, "may depend on the worker"),
        (job_of(loader(Countdown()), workers=2), PLAN, "may depend on the worker"),
        (job_of(loader()), Plan(backend="inline", workers=2, prefetch=2), "2 worker processes"),
    ],
)
def test_refuses_what_needs_workers(job: Job, plan: Plan, reason: str) -> None:
    refusal = Inline().refuses(job, plan)

    assert refusal is not None
    assert reason in refusal


@pytest.mark.parametrize("dataset", [Squares(), Countdown(), tensors()])
def test_takes_on_any_job_without_workers(dataset: Any) -> None:
    assert Inline().refuses(read_job(loader(dataset)), PLAN) is None


def test_errors_name_the_logical_worker_as_torchs_do() -> None:
    batches = [[0], [99], [1], [2], [77], [3]]
    job = job_of(loader(), workers=3)

    seen = steps(Inline().open(job, PLAN, iter(batches)))

    firsts = [step[1].splitlines()[0] for step in seen if step[0] is IndexError]
    lasts = [step[1].splitlines()[-1] for step in seen if step[0] is IndexError]
    assert firsts == [f"Caught IndexError in DataLoader worker process {w}." for w in (1, 1)]
    assert lasts == [
        "IndexError: index 99 is out of bounds for dimension 0 with size 10",
        "IndexError: index 77 is out of bounds for dimension 0 with size 10",
    ]
    assert [type(step[0]) for step in seen].count(type) == 6
