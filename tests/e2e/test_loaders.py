"""Whatever loader a script builds, the report names its line and speaks of all its batches."""

import copy
import gc
import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import heard, line_marked
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    get_worker_info,
)

import wellfed
from wellfed.records import Report


class Numbers(Dataset[Tensor]):
    def __init__(self, length: int = 24) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        return torch.tensor([index, index])


class Sharded(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info is not None else (0, 1)
        return iter(range(first, 24, step))


class Changed(DataLoader[Any]):
    """As libraries subclass it: another signature, and batches changed on their way."""

    def __init__(self, dataset: Dataset[Any], follow: list[str], **options: Any) -> None:
        options.pop("collate_fn", None)
        self.follow = follow
        super().__init__(dataset, collate_fn=list, **options)

    def __iter__(self) -> Any:
        for batch in super().__iter__():
            yield len(batch)


@dataclass
class Graphs:
    x: Tensor
    names: list[str]


def collate(samples: list[Tensor]) -> Graphs:
    return Graphs(torch.stack(samples), [str(sample) for sample in samples])


class Drawing(Dataset[tuple[float, float, float]]):
    """Draws from all three global generators."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[float, float, float]:
        return random.random(), float(np.random.random()), float(torch.rand(()))


class Nested(Dataset[int]):
    """Iterates a loader of its own for each sample."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> int:
        return sum(int(batch.sum()) for batch in DataLoader(Numbers(4), batch_size=2))


Train = Callable[[], int]


def watched(folder: Path, train: Train) -> tuple[int, Report]:
    """Batches that `train` had, and the report of it as it was saved."""
    with wellfed.observe() as seen:
        batches = train()
    file = str(folder / "report.json")
    seen.diagnose().save(file)
    return batches, wellfed.load(file)


# -- loaders of every kind


def subclass() -> int:
    loader = Changed(Numbers(), ["x"], batch_size=4)  # subclass
    return sum(1 for _ in loader)


def subclass_with_workers() -> int:
    loader = Changed(Numbers(), follow=[], batch_size=4, num_workers=2)  # subclass_with_workers
    return sum(1 for _ in loader)


def dataclasses_in_batches() -> int:
    loader = DataLoader(  # dataclasses_in_batches
        Numbers(), batch_size=4, num_workers=2, collate_fn=collate
    )
    return sum(isinstance(batch, Graphs) and len(batch.names) == 4 for batch in loader)


def own_batch_sampler() -> int:
    batches = [[0, 1], [5], [7, 8, 9]]
    loader = DataLoader(Numbers(), batch_sampler=batches, num_workers=1)  # own_batch_sampler
    return sum(1 for _ in loader)


def no_batches_by_rows() -> int:
    sampler = BatchSampler(RandomSampler(range(24)), 4, drop_last=False)
    rows: Any = torch.arange(24)
    loader = DataLoader(rows, sampler=sampler, batch_size=None)  # no_batches_by_rows
    return sum(len(batch) == 4 for batch in loader)


def no_batches_of_a_stream() -> int:
    loader = DataLoader(Sharded(), batch_size=None, num_workers=2)  # no_batches_of_a_stream
    assert sorted(loader) == list(range(24))
    return 24


def sharded_stream() -> int:
    loader = DataLoader(Sharded(), batch_size=4, num_workers=2)  # sharded_stream
    return sum(1 for _ in loader)


def out_of_order() -> int:
    loader = DataLoader(Numbers(), batch_size=4, num_workers=2, in_order=False)  # out_of_order
    return sum(1 for _ in loader)


def nested() -> int:
    outer = DataLoader(Nested(), batch_size=2)  # nested
    return sum(1 for _ in outer)


def nested_in_workers() -> int:
    outer = DataLoader(Nested(), batch_size=2, num_workers=1)  # nested_in_workers
    return sum(1 for _ in outer)


def unpickled() -> int:
    loader: DataLoader[Tensor] = pickle.loads(pickle.dumps(DataLoader(Numbers(), batch_size=4)))
    return sum(1 for _ in loader)  # unpickled


def copied() -> int:
    loader = copy.deepcopy(DataLoader(Numbers(), batch_size=4, num_workers=1))
    return sum(1 for _ in loader)  # copied


@pytest.mark.parametrize(
    ("train", "workers"),
    [
        (subclass, 0),
        (subclass_with_workers, 2),
        (dataclasses_in_batches, 2),
        (own_batch_sampler, 1),
        (no_batches_by_rows, 0),
        (no_batches_of_a_stream, 2),
        (sharded_stream, 2),
        (out_of_order, 2),
        (nested_in_workers, 1),
        (unpickled, 0),
        (copied, 1),
    ],
)
def test_the_report_speaks_of_every_batch(tmp_path: Path, train: Train, workers: int) -> None:
    batches, report = watched(tmp_path, train)
    trace = report.trace

    assert batches > 0
    assert str(trace.site) == line_marked(__file__, f"# {train.__name__}")
    assert trace.site is not None
    assert trace.site.function == train.__name__
    assert trace.plan.workers == workers
    assert trace.plan.in_order == (train is not out_of_order)
    assert len(trace.spans) == heard(trace.spans) == batches
    assert {span.worker for span in trace.spans} == (set(range(workers)) or {-1})
    assert trace.ended_because == "finished"
    assert trace.failures == ()
    assert trace.others == ()
    assert [(epoch.batches, epoch.complete) for epoch in trace.epochs] == [(batches, True)]


def test_a_loader_inside_the_dataset_is_another_loader(tmp_path: Path) -> None:
    batches, report = watched(tmp_path, nested)
    loaders = {str(report.trace.site): len(report.trace.spans)} | {
        str(other.site): other.batches for other in report.trace.others
    }

    assert loaders[line_marked(__file__, "# nested")] == batches == 3
    assert sorted(loaders.values()) == [3, 6 * 2]
    assert heard(report.trace.spans) == len(report.trace.spans)


# -- epochs


@pytest.mark.parametrize("persistent", [True, False])
def test_every_epoch_is_one_of_the_same_loader(tmp_path: Path, persistent: bool) -> None:
    def train() -> int:
        loader = DataLoader(Numbers(), batch_size=4, num_workers=2, persistent_workers=persistent)
        return sum(1 for _ in range(3) for _ in loader)

    batches, report = watched(tmp_path, train)
    trace = report.trace

    assert len(trace.spans) == heard(trace.spans) == batches == 18
    assert [epoch.batches for epoch in trace.epochs] == [6, 6, 6]
    assert all(epoch.complete for epoch in trace.epochs)
    started = [epoch.started_workers for epoch in trace.epochs]
    assert started == ([2, 0, 0] if persistent else [2, 2, 2])


def test_a_loader_that_is_built_anew_each_epoch_is_one_loader(tmp_path: Path) -> None:
    def train() -> int:
        return sum(
            1
            for _ in range(3)
            for _ in DataLoader(Numbers(), batch_size=4, num_workers=1)  # rebuilt
        )

    batches, report = watched(tmp_path, train)

    assert str(report.trace.site) == line_marked(__file__, "# rebuilt")
    assert len(report.trace.spans) == heard(report.trace.spans) == batches == 18
    assert report.trace.others == ()


@pytest.mark.parametrize("workers", [0, 2])
def test_two_iterators_of_one_loader_live_side_by_side(tmp_path: Path, workers: int) -> None:
    def train() -> int:
        loader = DataLoader(Numbers(), batch_size=4, num_workers=workers)
        pairs = list(zip(loader, loader, strict=True))
        assert all(torch.equal(one, other) for one, other in pairs)
        return 2 * len(pairs)

    batches, report = watched(tmp_path, train)

    assert len(report.trace.spans) == heard(report.trace.spans) == batches == 12
    assert [epoch.batches for epoch in report.trace.epochs] == [6, 6]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_iterator_that_is_given_up_counts_what_it_gave(tmp_path: Path, workers: int) -> None:
    def train() -> int:
        loader = DataLoader(Numbers(), batch_size=4, num_workers=workers)
        for _ in range(2):
            for number, _ in enumerate(loader):
                if number == 1:
                    break
        return 4

    batches, report = watched(tmp_path, train)

    assert len(report.trace.spans) == heard(report.trace.spans) == batches
    assert [(epoch.batches, epoch.complete) for epoch in report.trace.epochs] == [(2, False)] * 2


def test_the_report_speaks_of_the_loader_that_takes_longest(tmp_path: Path) -> None:
    def train() -> int:
        training = DataLoader(Numbers(40), batch_size=4)  # training
        validation = DataLoader(Numbers(8), batch_size=4)  # validation
        for _ in range(2):
            for batch in training:
                torch.linalg.svd(torch.randn(60, 60) + batch.sum())
            for _ in validation:
                pass
        return 20

    batches, report = watched(tmp_path, train)
    (other,) = report.trace.others

    assert str(report.trace.site) == line_marked(__file__, "# training")
    assert len(report.trace.spans) == batches
    assert str(other.site) == line_marked(__file__, "# validation")
    assert other.batches == 4


# -- nothing is changed


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_and_generators_are_those_of_an_unwatched_run(tmp_path: Path, workers: int) -> None:
    def train() -> list[Any]:
        random.seed(1)
        np.random.seed(2)
        torch.manual_seed(3)
        loader = DataLoader(Drawing(), batch_size=3, shuffle=True, num_workers=workers)
        drawn = [[part.tolist() for part in batch] for _ in range(2) for batch in loader]
        return [drawn, random.random(), float(np.random.random()), float(torch.rand(()))]

    plain = train()
    with wellfed.observe():
        seen = train()

    # NumPy's generator in a worker is seeded from torch's: all of it repeats.
    assert plain == seen


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_the_dataset_passes_as_it_is(workers: int) -> None:
    class Failing(Numbers):
        def __getitem__(self, index: int) -> Tensor:
            raise KeyError(f"no sample {index}")

    loader = DataLoader(Failing(), batch_size=4, num_workers=workers)
    said = ""
    with wellfed.observe():
        try:
            next(iter(loader))
        except KeyError as error:  # not pytest.raises, which would keep the iterator alive
            said = str(error)
    gc.collect()  # torch's own error refers to the frame that raised it, and so to the iterator

    assert "no sample 0" in said
    assert "src/wellfed" not in said
