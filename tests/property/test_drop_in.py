"""Our loader does, bit for bit and moment by moment, what torch's does in its place."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from drop_in_batches import STRUCTURES
from drop_in_jobs import DATASETS, ORDERS, SOURCES
from drop_in_runs import Case, agree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import wellfed
from wellfed._engine import stacking


@pytest.fixture(scope="module")
def loader_class() -> Any:
    """The class that must be no different from torch's."""
    return wellfed.DataLoader


MAPS = [name for name in DATASETS if name not in ("stream", "sharded", "measured")]
STREAMS = ["stream", "sharded", "measured"]

BATCHES = {
    "length": st.integers(0, 14),
    "draws": st.sets(st.sampled_from(SOURCES)).map(lambda some: tuple(sorted(some))),
    "batch_size": st.sampled_from([None, 1, 2, 3, 5]),
    "drop_last": st.booleans(),
    "deep": st.booleans(),
    "collate": st.sampled_from(["default", "keep", "draws", "structured"]),
    "structures": st.sets(st.sampled_from(STRUCTURES), min_size=1, max_size=3).map(
        lambda some: tuple(sorted(some, key=STRUCTURES.index))
    ),
}
PROCESSES = {
    "workers": st.sampled_from([1, 3]),
    "prefetch": st.sampled_from([1, 2, 4]),
    "persistent": st.booleans(),
    "marked": st.booleans(),
    "method": st.just("fork"),
}
ANY_SCRIPT = st.sampled_from(["epochs", "leave", "together"])
MAP_CASES = {
    **BATCHES,
    "dataset": st.sampled_from(MAPS),
    "order": st.sampled_from(ORDERS),
    # RandomSampler refuses an empty dataset.
    "length": st.integers(1, 14),
    "script": ANY_SCRIPT,
}
STREAM_CASES = {**BATCHES, "dataset": st.sampled_from(STREAMS)}

# Processes are slow: few examples, but each combines many settings.
SLOW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FAST = settings(max_examples=60, deadline=None)


@FAST
@given(case=st.builds(Case, **MAP_CASES))
def test_a_map_in_the_trainers_process(loader_class: Any, case: Case) -> None:
    agree(case, loader_class, DataLoader)


@FAST
@given(case=st.builds(Case, **STREAM_CASES, script=ANY_SCRIPT))
def test_a_stream_in_the_trainers_process(loader_class: Any, case: Case) -> None:
    agree(case, loader_class, DataLoader)


@SLOW
@given(case=st.builds(Case, **MAP_CASES, **PROCESSES))
def test_a_map_in_worker_processes(loader_class: Any, case: Case) -> None:
    agree(case, loader_class, DataLoader)


@SLOW
@given(case=st.builds(Case, **STREAM_CASES, **PROCESSES))
def test_a_stream_in_worker_processes(loader_class: Any, case: Case) -> None:
    agree(case, loader_class, DataLoader)


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("kind", MAPS)
def test_every_map_that_draws(loader_class: Any, kind: str, workers: int) -> None:
    case = Case(
        dataset=kind, draws=SOURCES, order="shuffled", collate="draws", workers=workers, deep=True
    )

    agree(case, loader_class, DataLoader)


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_every_order_with_workers(loader_class: Any, order: str, persistent: bool) -> None:
    agree(
        Case(order=order, workers=3, prefetch=2, persistent=persistent, draws=("torch",)),
        loader_class,
        DataLoader,
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_every_structure(loader_class: Any, workers: int) -> None:
    agree(
        Case(collate="structured", structures=STRUCTURES, deep=True, workers=workers, length=7),
        loader_class,
        DataLoader,
    )


@pytest.mark.parametrize("kind", MAPS)
def test_samples_that_are_stacked_one_by_one(
    loader_class: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacking, "LEAST_BYTES", 1)  # as in the workers, which are forked

    agree(Case(dataset=kind, workers=2, draws=("torch",)), loader_class, DataLoader)


def test_whichever_comes_first(loader_class: Any) -> None:
    """Out of order it is certain which samples make a batch, not when it comes."""
    case = Case(workers=3, in_order=False, order="shuffled", length=20)

    agree(case, loader_class, DataLoader)


@pytest.mark.parametrize(
    "case",
    [
        Case(dataset="counter", order="uneven", collate="draws", workers=1, persistent=True),
        Case(
            dataset="asking",
            draws=SOURCES,
            order="noted",
            workers=2,
            marked=True,
            script="leave",
            persistent=True,
        ),
        Case(dataset="sharded", draws=SOURCES, workers=2, persistent=True, script="epochs"),
    ],
    ids=str,
)
def test_spawned_workers(loader_class: Any, case: Case) -> None:
    agree(replace(case, method="spawn"), loader_class, DataLoader)


# -- the suite itself: it sees what it is there to see


class DrawsOnceMore(DataLoader[Any]):
    def __iter__(self) -> Any:
        torch.rand(())
        return super().__iter__()


class AsksAhead(DataLoader[Any]):
    """Takes the first batch before it is asked for."""

    def __iter__(self) -> Any:
        def batches(inner: Any, ahead: Any) -> Iterator[Any]:
            yield from ahead
            yield from inner

        inner = super().__iter__()
        return batches(inner, [next(inner)])


class Changes(DataLoader[Any]):
    """Changes batches on their way."""

    def change(self, batch: Any) -> Any:
        raise NotImplementedError

    def __iter__(self) -> Any:
        return map(self.change, super().__iter__())


class Straightens(Changes):
    def change(self, batch: Any) -> Any:
        given, (a, *rest) = batch
        return [given, [a.contiguous(), *rest]]


class Parts(Changes):
    """Gives every alias a memory of its own."""

    def change(self, batch: Any) -> Any:
        given, parts = batch
        return [given, {**parts, "same": parts["whole"].clone()}]


class Retypes(Changes):
    def change(self, batch: Any) -> Any:
        return tuple(batch)


@pytest.mark.parametrize(
    ("wrong", "case"),
    [
        (DrawsOnceMore, Case()),
        (AsksAhead, Case(order="noted", batch_size=None)),
        (AsksAhead, Case(dataset="counter", workers=0)),
        (Retypes, Case(collate="keep")),
        (Straightens, Case(collate="structured", structures=(STRUCTURES[6],))),
        (Parts, Case(collate="structured", structures=(STRUCTURES[5],))),
    ],
    ids=str,
)
def test_the_suite_sees_a_loader_that(wrong: Any, case: Case) -> None:
    with pytest.raises(AssertionError):
        agree(case, wrong, DataLoader)
