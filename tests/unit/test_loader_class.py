"""Our class is torch's class: subclassed, copied, pickled and tampered with as people do."""

import copy
import inspect
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

import wellfed
from wellfed.records import Plan


class Drawn(Dataset[float]):
    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> float:
        return index + float(torch.rand(()))


def values(loader: Any, backend: str) -> list[Any]:
    """All batches of an epoch, from the back end named."""
    iterator = iter(loader)
    assert getattr(iterator, "backend", "torch") == backend
    return [batch.tolist() for batch in iterator]


AGAIN: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda loader: pickle.loads(pickle.dumps(loader)),
}


def test_its_arguments_are_torchs_and_its_own_have_defaults() -> None:
    torchs = dict(inspect.signature(DataLoader.__init__).parameters)
    ours = dict(inspect.signature(wellfed.DataLoader.__init__).parameters)

    own = [name for name in ours if name not in torchs]
    assert [name for name in ours if name in torchs] == list(torchs)
    assert own == ["plan", "thread_safe", "device", "snapshot_every_n_steps"]
    for name, parameter in torchs.items():
        assert ours[name].default == parameter.default, name
        assert ours[name].kind == parameter.kind, name
    loader = wellfed.DataLoader(Drawn())
    assert all(hasattr(loader, name) for name in own)


def test_it_may_be_given_the_type_of_its_batches() -> None:
    assert wellfed.DataLoader[int](Drawn()).batch_size == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("way", AGAIN)
@pytest.mark.parametrize(("workers", "backend"), [(0, "inline"), (1, "processes")])
def test_a_copy_loads_the_same(way: str, workers: int, backend: str) -> None:
    plan = Plan(workers=workers, prefetch=2, backend=backend)
    loader = wellfed.DataLoader(
        Drawn(), batch_size=3, shuffle=True, num_workers=workers, plan=plan, thread_safe=True
    )
    torch.manual_seed(5)
    expected = values(loader, backend)

    another = AGAIN[way](loader)

    assert type(another) is wellfed.DataLoader
    assert (another.plan, another.thread_safe) == (plan, True)
    torch.manual_seed(5)
    assert values(another, backend) == expected


@pytest.mark.parametrize(
    "name", ["batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"]
)
def test_what_torch_forbids_to_set_is_forbidden(name: str) -> None:
    loader = wellfed.DataLoader(Drawn())

    with pytest.raises(ValueError, match=f"{name} attribute should not be set"):
        setattr(loader, name, None)


class Early(wellfed.DataLoader[Any]):
    """Sets attributes before torch's own are there, and after."""

    def __init__(self, **settings: Any) -> None:
        self.name = "early"
        super().__init__(Drawn(), **settings)
        self.late = "late"


class Bypassing(wellfed.DataLoader[Any]):
    """Goes to torch's `__init__` at once."""

    def __init__(self, **settings: Any) -> None:
        DataLoader.__init__(self, Drawn(), **settings)


@pytest.mark.parametrize("kind", [Early, Bypassing])
def test_a_subclass_runs_on_the_engine_however_it_is_made(kind: Any) -> None:
    torch.manual_seed(5)
    expected = values(DataLoader(Drawn(), batch_size=5, num_workers=2), "torch")

    torch.manual_seed(5)
    assert values(kind(batch_size=5, num_workers=2), "processes") == expected


class Forever:
    """A batch sampler that begins anew for ever."""

    def __init__(self, batch_sampler: Any) -> None:
        self.batch_sampler = batch_sampler

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield from self.batch_sampler


def endless(base: Any) -> Any:
    """One iterator for all epochs, as image trainers keep their workers."""

    class Endless(base):  # type: ignore[misc]
        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **settings)
            object.__setattr__(self, "batch_sampler", Forever(self.batch_sampler))
            self.iterator = super().__iter__()

        def __len__(self) -> int:
            return len(self.batch_sampler)

        def __iter__(self) -> Iterator[Any]:
            for _ in range(len(self)):
                yield next(self.iterator)

    return Endless


@pytest.mark.parametrize(("workers", "backend"), [(0, "inline"), (2, "processes")])
def test_an_endless_sampler_and_an_iterator_that_is_kept(workers: int, backend: str) -> None:
    told = []
    for base in (DataLoader, wellfed.DataLoader):
        torch.manual_seed(5)
        loader = endless(base)(Drawn(), batch_size=3, shuffle=True, num_workers=workers)
        told.append([[batch.tolist() for batch in loader] for _ in range(3)])
        assert getattr(loader.iterator, "backend", "torch") == (
            "torch" if base is DataLoader else backend
        )
        if workers:
            loader.iterator._shutdown_workers()

    assert told[0] == told[1]
    assert [len(epoch) for epoch in told[0]] == [4, 4, 4]


class Numbers(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(4))


def test_it_is_torchs_to_whoever_asks() -> None:
    loader = wellfed.DataLoader(Numbers())

    assert isinstance(loader, DataLoader)
    with pytest.raises(TypeError, match="has no len"):
        len(loader)
