"""A loader that tunes itself: whatever is decided, the batches are torch's, and it says so."""

import random
import time
from typing import Any

import numpy as np
import pytest
import torch
from fault_jobs import PATIENCE_S
from msgspec.structs import replace
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import Dataset, DistributedSampler, IterableDataset

import wellfed
from wellfed import _live
from wellfed._engine import auto
from wellfed._tuner.controller import Decision, Keep, State, Switch, Undo
from wellfed._tuner.window import Window
from wellfed.records import Plan

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

LENGTH = 240


class Plain(Dataset[Any]):
    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> Any:
        return torch.full((2_000,), float(index))


class Drawing(Dataset[Any]):
    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> Any:
        return index, torch.rand(2), random.random(), np.random.rand(3)


class Shards(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(30))


@pytest.fixture
def restless(monkeypatch: pytest.MonkeyPatch) -> random.Random:
    """A controller that changes something after every other batch, as it likes."""
    rng = random.Random(7)

    def step(state: State, window: Window) -> tuple[State, Decision]:
        chosen = {"workers": rng.randint(1, 4), "prefetch": rng.randint(1, 5)}
        name = rng.choice(list(chosen))
        if name == "workers" and state.bounds.why_fixed:
            return state, Keep(why="workers stay")
        plan = replace(state.plan, **{name: chosen[name]})
        decision: Decision = Switch(plan=plan, why="as it likes")
        if rng.random() < 0.5:
            decision = Undo(plan=plan, why="as it likes")
        return replace(state, plan=plan), decision

    monkeypatch.setattr(_live, "step", step)
    for name in ("WINDOW_NS", "LONG_WINDOW_NS", "AGAIN_NS"):
        monkeypatch.setattr(_live, name, 0.0)
    monkeypatch.setattr(_live, "LEAST_BATCHES", 1)
    return rng


def plain(batch: Any) -> Any:
    if isinstance(batch, list):
        return [plain(value) for value in batch]
    return batch.reshape(len(batch), -1)[:, :4].tolist()


def epochs(loader: Any, count: int = 2) -> list[Any]:
    torch.manual_seed(3)
    return [plain(batch) for _ in range(count) for batch in loader]


def options(**more: Any) -> dict[str, Any]:
    return {"batch_size": 4, "num_workers": 2, **more}


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("dataset", [Plain(), Drawing()], ids=["plain", "drawing"])
def test_whatever_is_decided_the_batches_are_torchs(dataset: Any, persistent: bool) -> None:
    more = options(shuffle=True, persistent_workers=persistent)
    ours: Any = wellfed.DataLoader(dataset, timeout=PATIENCE_S, **more)

    seen = epochs(ours)

    assert seen == epochs(TorchDataLoader(dataset, **more))
    kinds = {change.kind for change in ours.report().changes}
    assert kinds >= {"switch", "undo"}


class Slowing(Drawing):
    """Samples that cost nothing at first, and are then waited for."""

    def __len__(self) -> int:
        return 2_400

    def __getitem__(self, index: int) -> Any:
        if index >= 400:
            time.sleep(0.005)
        return super().__getitem__(index)


def test_an_auto_loader_whose_samples_become_slow_gets_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("WINDOW_NS", "LONG_WINDOW_NS", "AGAIN_NS"):
        monkeypatch.setattr(_live, name, 0.3e9)
    monkeypatch.setattr(auto, "INLINE_S", 1.0)  # whatever the first ones take on a busy machine

    def loader(**more: Any) -> Any:
        return wellfed.DataLoader(Slowing(), batch_size=4, num_workers="auto", **more)

    ours = loader()
    torch.manual_seed(3)
    batches = iter(ours)
    seen, makers = [], []
    for batch in batches:
        seen.append(plain(batch))
        makers.append(batches.backend)
    (moved, *_) = [one for one in ours.report().changes if one.kind == "switch"]

    assert makers[0] == "inline"
    assert "processes" in makers
    assert "a batch takes the trainer" in moved.why
    torch.manual_seed(3)
    assert seen == [plain(batch) for batch in loader(plan=Plan(backend="inline"))]


@pytest.mark.usefixtures("restless")
def test_loaders_of_torch_that_the_engine_serves_tune_themselves_too() -> None:
    more = options(shuffle=True)
    expected = epochs(TorchDataLoader(Plain(), **more))

    with wellfed.install():
        theirs: Any = TorchDataLoader(Plain(), timeout=PATIENCE_S, **more)
        batches = iter(theirs)
        plans = {batches.plan for _ in batches}
        seen = epochs(theirs)

    assert seen == expected
    assert len(plans) > 1


@pytest.mark.usefixtures("restless")
def test_with_auto_whatever_is_decided_changes_no_batch() -> None:
    torch.manual_seed(3)
    tuned: Any = wellfed.DataLoader(
        Drawing(), batch_size=4, shuffle=True, num_workers="auto", prefetch_factor=3
    )
    still: Any = wellfed.DataLoader(
        Drawing(), batch_size=4, shuffle=True, num_workers="auto", autotune=False
    )

    assert epochs(tuned, 1) == epochs(still, 1)


@pytest.mark.usefixtures("restless")
def test_over_an_iterable_dataset_plans_change_between_epochs_alone() -> None:
    ours: Any = wellfed.DataLoader(Shards(), batch_size=3, num_workers=2, persistent_workers=True)

    plans = []
    for _ in range(4):
        batches = iter(ours)
        first = batches.plan
        seen = sorted(value for batch in batches for value in batch.tolist())
        assert seen == sorted([*range(30)] * 2)
        assert batches.plan == first
        plans.append(first)

    assert len(set(plans)) > 1
    assert {plan.workers for plan in plans} == {2}


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize(
    "more",
    [{"num_workers": 0}, {"autotune": False}, {"plan": Plan(backend="processes", workers=1)}],
    ids=["no workers", "switched off", "a plan by hand"],
)
def test_what_was_settled_by_hand_stays(more: dict[str, Any]) -> None:
    ours: Any = wellfed.DataLoader(Plain(), **options(**more))

    epochs(ours)

    assert ours.report().changes == ()


@pytest.mark.usefixtures("restless")
def test_the_next_iterator_goes_on_with_what_was_found() -> None:
    ours: Any = wellfed.DataLoader(Plain(), **options())
    epochs(ours, 1)
    last = ours.report().changes[-1].after

    batches: Any = iter(ours)

    assert batches.plan == last
    assert ours.plan is None


def test_a_controller_that_fails_leaves_the_batches_alone(
    monkeypatch: pytest.MonkeyPatch, restless: random.Random, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(state: State, window: Window) -> Any:
        raise LookupError("no such state")

    monkeypatch.setattr(_live, "step", fails)

    assert epochs(wellfed.DataLoader(Plain(), **options())) == epochs(
        TorchDataLoader(Plain(), **options())
    )
    (record,) = caplog.records
    assert record.message.startswith(
        "The loader does not tune itself any more; its batches are not affected."
    )
    assert "LookupError: no such state" in record.message


def test_a_switch_by_hand_is_told() -> None:
    ours: Any = wellfed.DataLoader(Plain(), **options())
    batches = iter(ours)
    next(batches)
    ours.switch(Plan(backend="processes", workers=3, prefetch=2))
    next(batches)

    (change,) = ours.report().changes

    assert (change.kind, change.batch, change.before.workers) == ("by hand", 1, 2)
    assert change.after.workers == 3


def _rank(rank: int, world: int, store: str, results: Any) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=world
    )
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1))
    sampler: Any = DistributedSampler(Plain(), shuffle=True, seed=5)
    seen: dict[Any, list[Any]] = {}
    changes = 0
    for kind in (wellfed.DataLoader, TorchDataLoader):
        loader: Any = kind(Plain(), batch_size=4, sampler=sampler, num_workers=2)
        seen[kind] = []
        for epoch in range(2):
            sampler.set_epoch(epoch)
            for batch in loader:
                model(batch[:, :1]).sum().backward()
                seen[kind].append(batch[:, 0].tolist())
        if kind is wellfed.DataLoader:
            changes = len(loader.report().changes)
    torch.distributed.destroy_process_group()
    results.put((rank, seen[wellfed.DataLoader] == seen[TorchDataLoader], changes))


@pytest.mark.usefixtures("restless")
def test_two_ranks_tune_themselves_and_see_what_they_would_have_seen(tmp_path: Any) -> None:
    """The ranks switch at different batches, and no step waits for the other's switch."""
    context = torch.multiprocessing.get_context("fork")
    results = context.Queue()
    ranks = [
        context.Process(target=_rank, args=(rank, 2, str(tmp_path / "store"), results))
        for rank in range(2)
    ]
    for rank in ranks:
        rank.start()
    came = sorted(results.get(timeout=PATIENCE_S) for _ in ranks)
    for rank in ranks:
        rank.join(PATIENCE_S)
    results.close()
    results.join_thread()

    assert [(rank, same) for rank, same, _ in came] == [(0, True), (1, True)]
    assert all(changes > 0 for _, _, changes in came)
