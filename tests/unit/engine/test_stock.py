"""When torch's own iterator serves a loader: each reason on the list, and nothing else."""

import multiprocessing
import sys
from multiprocessing.context import ForkContext
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset, dataloader
from torch.utils.data._utils import worker as torch_worker
from torch.utils.data.datapipes.iter import IterableWrapper
from torch.utils.data.datapipes.map import SequenceWrapper

import wellfed
from wellfed._engine.stock import why_stock


def loader(dataset: Any = None, **options: Any) -> DataLoader[Any]:
    return wellfed.DataLoader(
        TensorDataset(torch.zeros(4)) if dataset is None else dataset, **options
    )


def reason(of: Any) -> str:
    said = why_stock(of)
    assert said is not None
    assert said.endswith(".")
    return said


class Subclassed(DataLoader[Any]):
    pass


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_workers": 2},
        {"pin_memory": False, "batch_size": None},
        {"num_workers": 1, "multiprocessing_context": "fork"},
        {"num_workers": 1, "multiprocessing_context": multiprocessing.get_context("spawn")},
        {"num_workers": 1, "multiprocessing_context": multiprocessing.get_context("forkserver")},
        {"num_workers": 1, "multiprocessing_context": multiprocessing.get_context()},
    ],
    ids=str,
)
def test_the_engine_serves_all_that_is_usual(options: dict[str, Any]) -> None:
    assert why_stock(loader(**options)) is None


def test_the_engine_serves_torchs_loader_and_its_subclasses() -> None:
    assert why_stock(DataLoader(TensorDataset(torch.zeros(4)))) is None
    assert why_stock(Subclassed(TensorDataset(torch.zeros(4)))) is None


def test_another_platform_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    assert "this is darwin" in reason(loader())


@pytest.mark.parametrize("pipe", [IterableWrapper, SequenceWrapper])
def test_data_pipes_are_torchs(pipe: Any) -> None:
    assert "DataPipe" in reason(loader(pipe([1, 2])))


def test_the_engine_pins_where_there_is_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)

    assert why_stock(loader(pin_memory=True)) is None


class LikeRay(ForkContext):
    pass


def test_a_context_that_is_not_pythons_is_torchs() -> None:
    assert "LikeRay" in reason(loader(num_workers=1, multiprocessing_context=LikeRay()))


def test_a_context_with_processes_of_its_own_is_torchs() -> None:
    context = ForkContext()
    context.__dict__["Process"] = multiprocessing.Process

    assert "ForkContext" in reason(loader(num_workers=1, multiprocessing_context=context))


class Foreign:
    """What another library might put in torch's place."""


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (torch_worker, "_worker_loop"),
        (dataloader, "_DatasetKind"),
        (dataloader._DatasetKind, "create_fetcher"),
        (dataloader, "_MultiProcessingDataLoaderIter"),
        (dataloader, "_SingleProcessDataLoaderIter"),
    ],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_what_another_library_has_put_in_torchs_place_is_served_by_torch(
    monkeypatch: pytest.MonkeyPatch, place: Any, name: str
) -> None:
    of = loader()
    theirs = type("Theirs", (Foreign,), {"create_fetcher": Foreign})
    monkeypatch.setattr(place, name, theirs)

    assert "Another library" in reason(of)
