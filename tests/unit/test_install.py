"""`install()` puts plain loaders on the engine, leaves others alone, and can be undone."""

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torch.utils.data.datapipes.iter import IterableWrapper

import wellfed

DATASET = TensorDataset(torch.arange(12.0))
TORCHS = vars(DataLoader)["_get_iterator"]


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    yield
    assert vars(DataLoader)["_get_iterator"] is TORCHS


class Squares(Dataset[int]):
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> int:
        return index**2


class MakesItsOwn(DataLoader[Any]):
    def _get_iterator(self) -> Any:
        return iter([None] * len(self))


class Wrapping(DataLoader[Any]):
    """As PyTorch Geometric's loaders do it."""

    def _get_iterator(self) -> Any:
        self.wrapped: Any = super()._get_iterator()
        return iter(self.wrapped)


class Named(DataLoader[Any]):
    plan = "a learning plan"
    thread_safe = "not ours either"


def backend(loader: Any) -> str:
    """Who makes its batches."""
    iterator = iter(loader)
    made_by = getattr(iterator, "backend", "torch")
    assert len(list(iterator)) == len(loader)
    return str(made_by)


@pytest.mark.parametrize(("workers", "name"), [(0, "inline"), (1, "processes")])
def test_a_plain_loader_runs_on_the_engine(workers: int, name: str) -> None:
    loader = DataLoader(Squares(), batch_size=4, num_workers=workers)

    assert backend(loader) == "torch"
    with wellfed.install():
        assert backend(loader) == name
        assert type(loader) is DataLoader
    assert backend(loader) == "torch"


def test_a_subclass_that_makes_its_own_iterators_is_left_alone() -> None:
    with wellfed.install():
        assert backend(MakesItsOwn(DATASET)) == "torch"


def test_a_subclass_that_wraps_torchs_iterator_wraps_ours() -> None:
    loader = Wrapping(Squares(), batch_size=4)
    with wellfed.install():
        assert len(list(loader)) == 3
    assert loader.wrapped.backend == "inline"


def test_a_loader_that_makes_its_own_iterators_is_left_alone() -> None:
    loader = DataLoader(DATASET)
    with wellfed.install():
        loader.__dict__["_get_iterator"] = lambda: iter([None] * len(loader))
        assert backend(loader) == "torch"


def test_a_subclass_with_a_plan_of_its_own_is_served() -> None:
    with wellfed.install():
        assert backend(Named(DATASET)) == "inline"


def test_our_own_loader_is_served_as_ever() -> None:
    with wellfed.install():
        assert backend(wellfed.DataLoader(DATASET)) == "inline"


def test_what_the_engine_refuses_runs_on_torch() -> None:
    pipe = IterableWrapper(range(3))
    with wellfed.install():
        assert backend(DataLoader(pipe)) == "torch"


def test_installed_twice_it_is_taken_away_by_the_last() -> None:
    loader = DataLoader(DATASET)
    first, second = wellfed.install(), wellfed.install()

    first.undo()
    first.undo()
    assert backend(loader) == "inline"
    second.undo()
    assert backend(loader) == "torch"


def test_installed_often_it_is_one_call() -> None:
    installed = [wellfed.install() for _ in range(2000)]
    try:
        assert backend(DataLoader(DATASET)) == "inline"
    finally:
        for one in installed:
            one.undo()


def test_a_block_inside_another_leaves_the_outer_as_it_was() -> None:
    loader = DataLoader(DATASET)
    with wellfed.install():
        with wellfed.install():
            assert backend(loader) == "inline"
        assert backend(loader) == "inline"


def test_what_others_wrapped_around_it_only_passes_calls_on_after_it_is_undone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loader = DataLoader(DATASET)
    with wellfed.install():
        ours = vars(DataLoader)["_get_iterator"]
        monkeypatch.setattr(DataLoader, "_get_iterator", lambda self: ours(self))
        assert backend(loader) == "inline"
    assert backend(loader) == "torch"
    monkeypatch.undo()
    DataLoader._get_iterator = TORCHS  # type: ignore[method-assign]


def test_an_iterator_outlives_it() -> None:
    with wellfed.install():
        iterator = iter(DataLoader(DATASET, batch_size=4))
    assert len(list(iterator)) == 3


def test_a_loader_pickles_as_before() -> None:
    with wellfed.install():
        loader = DataLoader(DATASET, batch_size=4)
        backend(loader)
        saved = pickle.dumps(loader)
    assert backend(pickle.loads(saved)) == "torch"
