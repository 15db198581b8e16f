"""A watched run gives, bit for bit, the batches, losses and random states of an unwatched one."""

import pickle
import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity_jobs import KINDS, Batches
from torch.utils.data import DataLoader

import wellfed
from wellfed._engine.watch.loaders import Watch

EPOCHS = 2


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way of loading."""

    kind: str = "map"
    length: int = 13
    batch_size: int | None = 3
    shuffle: bool = False
    own_sampler: bool = False
    drop_last: bool = False
    workers: int = 0
    method: str | None = None
    prefetch: int | None = None
    persistent: bool = False
    pin: bool = False
    leave_after: int | None = None
    """Batches after which the loop is left, in each epoch."""
    auto: bool = False
    """Whether the engine chooses how many workers there are."""

    def __str__(self) -> str:
        changed = {f.name: getattr(self, f.name) for f in fields(self)}
        return ",".join(f"{k}={v}" for k, v in changed.items() if v != getattr(Case, k))

    def loader(self, make: Callable[..., DataLoader[Any]] = DataLoader) -> DataLoader[Any]:
        options: dict[str, Any] = {
            "num_workers": "auto" if self.auto else self.workers,
            "multiprocessing_context": self.method,
            "prefetch_factor": self.prefetch,
            "persistent_workers": self.persistent,
            "pin_memory": self.pin,
        }
        dataset = KINDS[self.kind](self.length)
        if self.own_sampler:
            return make(dataset, batch_sampler=Batches(self.length), **options)
        shuffle = None if self.kind == "iterable" else self.shuffle
        drop_last = self.drop_last and self.batch_size is not None
        return make(dataset, self.batch_size, shuffle, drop_last=drop_last, **options)


def plain(value: Any) -> Any:
    """Tensors as their very bytes, in the same structure."""
    if isinstance(value, torch.Tensor):
        return type(value), value.dtype, tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    return (type(value), [plain(part) for part in value]) if isinstance(value, list) else value


def train(case: Case, make: Any) -> tuple[list[Any], list[float], Any]:
    """Batches as they came, losses, and the loader; an error of the dataset ends it all."""
    loader = case.loader(make)
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches, losses = [], []
    for _ in range(EPOCHS):
        iterator: Any = iter(loader)
        try:
            for number, batch in enumerate(iterator):
                if number == case.leave_after:
                    break
                batches.append(plain(batch))
                loss = model(batch["x"]).square().mean() + 0.01 * torch.rand(())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        except LookupError as error:
            batches.append(str(error).splitlines()[-1])
            if case.workers:  # left to the garbage collector, torch takes 5 s for each of them
                iterator._shutdown_workers()
    return batches, losses, loader


def outcome(case: Case, around: AbstractContextManager[Any], make: Any) -> dict[str, Any]:
    """All that the run did, and the state in which it left the generators."""
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    with around:
        batches, losses, loader = train(case, make)
        # Afterwards an observation asks the dataset for its length.
        calls = list(loader.dataset.calls)
    return {
        "batches": batches,
        "losses": losses,
        "python": random.getstate(),
        "numpy": pickle.dumps(np.random.get_state()),
        "torch": torch.get_rng_state().tolist(),
        "dataset": calls,
        "sampler": getattr(loader.batch_sampler, "calls", None),
    }


class Watched:
    """A `with` block of the engine's watch alone."""

    def __enter__(self) -> None:
        self.watch = Watch()
        self.watch.install()

    def __exit__(self, *_: object) -> None:
        self.watch.undo()
        assert self.watch.failures == []


def agree(case: Case, around: AbstractContextManager[Any], make: Any = DataLoader) -> None:
    plain, watched = outcome(case, nullcontext(), make), outcome(case, around, make)
    assert plain.keys() == watched.keys()
    for name, value in plain.items():
        assert (name, watched[name]) == (name, value)


in_process = st.builds(
    Case,
    kind=st.sampled_from(["map", "batched", "iterable", "broken"]),
    length=st.integers(1, 20),
    batch_size=st.sampled_from([None, 1, 3, 7]),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    leave_after=st.sampled_from([None, None, 0, 2]),
)


@given(in_process)
def test_without_workers(case: Case) -> None:
    agree(case, Watched())


@pytest.mark.parametrize("kind", ["map", "batched"])
@pytest.mark.parametrize("leave_after", [None, 2])
def test_with_a_batch_sampler_of_the_users(kind: str, leave_after: int | None) -> None:
    agree(Case(kind=kind, own_sampler=True, leave_after=leave_after), Watched())


# Processes are slow: each setting is there at least once with every other that it could meet.
FORKED = [
    Case(workers=1, kind="map", shuffle=True),
    Case(workers=3, kind="map", shuffle=True, persistent=True),
    Case(workers=3, kind="map", drop_last=True, prefetch=1, leave_after=2),
    Case(workers=1, kind="map", own_sampler=True, persistent=True),
    Case(workers=3, kind="map", own_sampler=True),
    Case(workers=1, kind="batched", shuffle=True, drop_last=True),
    Case(workers=3, kind="batched", own_sampler=True, prefetch=3, persistent=True),
    Case(workers=1, kind="iterable", persistent=True),
    Case(workers=3, kind="iterable", drop_last=True),
    Case(workers=3, kind="iterable", batch_size=None, leave_after=2),
    Case(workers=3, kind="map", batch_size=None, shuffle=True),
    Case(workers=1, kind="broken"),
    Case(workers=3, kind="broken", shuffle=True),
]


@pytest.mark.parametrize("case", FORKED, ids=str)
def test_with_forked_workers(case: Case) -> None:
    agree(replace(case, method="fork"), Watched())


ENGINES = [
    *(case for case in FORKED if not case.persistent),
    Case(workers=3, kind="map", shuffle=True, persistent=True),
    Case(workers=3, kind="iterable", persistent=True),
    Case(auto=True, kind="map", shuffle=True),
    Case(auto=True, kind="batched", shuffle=True),
    Case(kind="map", shuffle=True),
    Case(kind="iterable", leave_after=2),
]


@pytest.mark.parametrize("case", ENGINES, ids=str)
def test_on_the_engine(case: Case) -> None:
    agree(replace(case, method="fork" if case.workers else None), Watched(), wellfed.DataLoader)


SPAWNED = [
    Case(workers=1, kind="batched", shuffle=True, persistent=True),
    Case(workers=1, kind="iterable", persistent=True),
    Case(workers=3, kind="map", own_sampler=True, persistent=True),
]


@pytest.mark.parametrize("case", SPAWNED, ids=str)
def test_with_spawned_workers(case: Case) -> None:
    agree(replace(case, method="spawn"), Watched())


@pytest.mark.parametrize(
    "case",
    [
        Case(kind="map", shuffle=True, own_sampler=True),
        Case(kind="iterable", workers=3, method="fork"),
    ],
    ids=str,
)
def test_under_a_whole_observation(case: Case) -> None:
    agree(case, wellfed.observe())
