"""Another plan in the midst of an epoch changes no batch: none lost, none made twice."""

import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from fault_jobs import PATIENCE_S, Numbers
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import Dataset, IterableDataset, RandomSampler, default_collate

import wellfed
from wellfed._engine import template
from wellfed._engine.process_stream import ProcessStream
from wellfed.errors import PlanTooLarge, UsageError
from wellfed.records import Plan

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

LENGTH = 240


class Plain(Dataset[Any]):
    """Samples are functions of their indices; large enough to lie in a slab."""

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> Any:
        return {"x": torch.full((6_000,), float(index)), "index": index}


class Late(Plain):
    """Late samples draw: batches move until then, and stay with their workers afterwards."""

    def __getitem__(self, index: int) -> Any:
        more = random.random() if index > LENGTH * 3 // 4 else 0.0
        return {**super().__getitem__(index), "drawn": more}


class Drawing(Dataset[Any]):
    """Every sample draws."""

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> Any:
        return index, torch.rand(2), random.random(), np.random.rand(3)


def my_collate(samples: Any) -> Any:
    return default_collate(samples)


def processes(workers: int, prefetch: int = 2, threads: int = 0) -> Plan:
    return Plan(backend="processes", workers=workers, prefetch=prefetch, threads=threads)


def plain(batch: Any) -> Any:
    """A batch as plain numbers, of large tensors the first of each row."""
    if isinstance(batch, dict):
        return {name: plain(value) for name, value in batch.items()}
    if isinstance(batch, list):
        return [plain(value) for value in batch]
    return batch.reshape(len(batch), -1)[:, :4].tolist()


def epochs(loader: Any, plans: dict[int, Plan] | None = None, count: int = 1) -> list[Any]:
    """All batches, with another plan after those that `plans` names; each is kept to the end."""
    torch.manual_seed(3)
    kept, early = [], []
    for _ in range(count):
        for batch in loader:
            kept.append(batch)
            early.append(plain(batch))
            if plans and len(kept) in plans:
                loader.switch(plans[len(kept)])
    late = [plain(batch) for batch in kept]
    assert late == early, "a batch that was kept has changed"
    return late


def ours(dataset: Any, **options: Any) -> Any:
    options = {"timeout": PATIENCE_S, **options}
    return wellfed.DataLoader(dataset, batch_size=4, shuffle=True, thread_safe=True, **options)


def torchs(dataset: Any, **options: Any) -> Any:
    return TorchDataLoader(dataset, batch_size=4, shuffle=True, **options)


def at_random(seed: int, threads: bool) -> dict[int, Plan]:
    """Many plans at random batches of two epochs."""
    rng = random.Random(seed)
    plans = {}
    for number in rng.sample(range(1, LENGTH // 2), 12):
        several = rng.choice([0, 0, 3]) if threads else 0
        plans[number] = processes(rng.randint(1, 4), rng.randint(1, 4), several)
    return plans


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("collate", [None, my_collate])
@pytest.mark.parametrize("seed", range(3))
def test_plans_at_random_change_no_batch(seed: int, collate: Any, persistent: bool) -> None:
    options = {"num_workers": 2, "collate_fn": collate, "persistent_workers": persistent}

    seen = epochs(ours(Plain(), **options), at_random(seed, threads=collate is None), 2)

    assert seen == epochs(torchs(Plain(), **options), None, 2)


@pytest.mark.parametrize("seed", range(3))
def test_with_auto_plans_at_random_change_no_batch(seed: int) -> None:
    loader = ours(Drawing(), num_workers="auto", plan=processes(2))

    seen = epochs(loader, at_random(seed, threads=False))

    assert seen == epochs(ours(Drawing(), num_workers="auto", plan=Plan(backend="inline")))


def test_draws_that_come_late_are_made_by_the_workers_whose_they_are() -> None:
    """Processes come and go while batches are free; then each home draws from its beginning."""

    def late(kind: Any, plans: dict[int, Plan] | None) -> list[Any]:
        loader = kind(Late(), batch_size=4, num_workers=3)
        return epochs(loader, plans)

    plans = {3: processes(1), 9: processes(4), 20: processes(2), 30: processes(3)}

    assert late(wellfed.DataLoader, plans) == late(TorchDataLoader, None)


def test_the_processes_are_those_of_the_plan() -> None:
    loader = ours(Plain(), num_workers=2)
    batches: Any = iter(loader)
    next(batches)
    before = batches._workers
    loader.switch(processes(3))
    for _ in range(12):
        next(batches)
    grown = batches._workers
    loader.switch(processes(1))
    for _ in range(12):
        next(batches)

    assert [worker.pid for worker in grown[:2]] == [worker.pid for worker in before]
    assert len(grown) == 3
    assert [worker.pid for worker in batches._workers] == [before[0].pid]
    assert batches.plan.workers == 1
    assert loader.plan == processes(1)


def test_processes_that_leave_are_let_go_of() -> None:
    loader: Any = wellfed.DataLoader(Numbers(length=400_000), batch_size=4, num_workers=3)
    batches: Any = iter(loader)
    read = [float(next(batches)[0, 0])]
    crew = batches._stream._crew
    loader.switch(processes(1))
    while crew.living > 1:  # the end of the epoch would come first
        read.append(float(next(batches)[0, 0]))
    read += [float(next(batches)[0, 0]) for _ in range(100)]

    assert read == list(range(0, 4 * len(read), 4))


def test_word_of_how_one_ended_that_comes_too_late_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(template, "REAP_S", 0.0)  # it is asked, and not waited for
    monkeypatch.setattr(template, "FORK_S", PATIENCE_S)  # as long as another worker is waited for

    test_processes_that_leave_are_let_go_of()


def test_the_next_iterator_begins_with_the_plan() -> None:
    loader = ours(Plain(), num_workers=2)
    loader.switch(processes(1, 4))

    batches: Any = iter(loader)

    assert len(batches._workers) == 1
    assert batches.plan.prefetch == 4


# -- in the trainer's process, or not

INLINE = Plan(backend="inline")


def auto(dataset: Any, **options: Any) -> Any:
    # The trainer's process cannot keep a timeout.
    return ours(dataset, num_workers="auto", timeout=0, **options)


def to_and_fro(seed: int, batches: int) -> dict[int, Plan]:
    """Back ends and numbers of workers in turn, at random batches."""
    rng = random.Random(seed)
    numbers = sorted(rng.sample(range(1, batches), 8))
    return {
        number: rng.choice([INLINE, processes(rng.randint(1, 3), rng.randint(1, 3))])
        for number in numbers
    }


def switched(loader: Any, plans: dict[int, Plan], count: int = 1) -> tuple[list[Any], list[str]]:
    """All batches and who made them; a switch that comes while another is under way is left out."""
    torch.manual_seed(3)
    seen, makers = [], []
    for _ in range(count):
        batches: Any = iter(loader)
        for batch in batches:
            seen.append(plain(batch))
            makers.append(batches.backend)
            plan = plans.get(len(seen))
            if plan is not None and not batches.switching:
                loader.switch(plan)
    return seen, makers


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("first", [INLINE, processes(2)])
@pytest.mark.parametrize("seed", range(3))
def test_a_back_end_that_takes_over_changes_no_batch(
    seed: int, first: Plan, persistent: bool
) -> None:
    loader = auto(Drawing(), plan=first, persistent_workers=persistent)

    seen, makers = switched(loader, to_and_fro(seed, LENGTH // 2), 2)

    assert seen == epochs(auto(Drawing(), plan=INLINE, persistent_workers=persistent), None, 2)
    assert set(makers) == {"inline", "processes"}


def test_what_was_read_for_the_first_is_delivered_before_the_other_takes_over() -> None:
    loader = auto(Drawing(), plan=INLINE)
    ahead = 2 * loader.num_workers

    _, makers = switched(loader, {3: processes(2)})

    assert makers == ["inline"] * (3 + ahead) + ["processes"] * (LENGTH // 4 - 3 - ahead)


@pytest.mark.parametrize("first", [INLINE, processes(2)])
@pytest.mark.parametrize("after", [1, 4, 20])
def test_a_state_that_is_saved_on_the_way_goes_on_where_it_was(first: Plan, after: int) -> None:
    whole = epochs(auto(Drawing(), plan=INLINE))
    torch.manual_seed(3)
    loader = auto(Drawing(), plan=first)
    batches = iter(loader)
    seen = [plain(next(batches)) for _ in range(5)]
    loader.switch(processes(3) if first == INLINE else INLINE)
    seen += [plain(next(batches)) for _ in range(after)]
    state = loader.state_dict()
    del batches

    resumed = auto(Drawing(), plan=processes(1))
    resumed.load_state_dict(state)

    assert seen + [plain(batch) for batch in resumed] == whole


def test_an_epoch_that_is_left_on_the_way_leaves_nothing_behind() -> None:
    loader = auto(Plain(), plan=INLINE, persistent_workers=True)
    batches = iter(loader)
    next(batches)
    loader.switch(processes(2))

    again = iter(loader)

    assert again is batches
    assert again.backend == "processes"
    assert len(list(again)) == LENGTH // 4


def test_one_that_cannot_start_leaves_all_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = auto(Drawing(), plan=INLINE)
    whole = epochs(auto(Drawing(), plan=INLINE))
    torch.manual_seed(3)
    batches: Any = iter(loader)
    seen = [plain(next(batches)) for _ in range(5)]

    def refuses(*_: Any) -> Any:
        raise PlanTooLarge("no room")

    monkeypatch.setattr(ProcessStream, "_dispatch", refuses)  # its indices have been read by then
    with pytest.raises(UsageError, match="no room"):
        loader.switch(processes(2))

    assert not batches.switching
    assert seen + [plain(batch) for batch in batches] == whole


def test_batches_that_workers_must_make_do_not_move_to_the_trainer() -> None:
    refused(auto(Plain(), plan=processes(2), worker_init_fn=print), INLINE, "worker_init_fn")
    refused(ours(Plain(), plan=processes(2), num_workers="auto"), INLINE, "timeout is for worker")


def test_a_number_of_workers_keeps_its_back_end() -> None:
    refused(ours(Plain(), num_workers=2), INLINE, "made by the back end 'processes' until")


# -- what would change a batch is refused


def refused(loader: Any, plan: Plan, why: str) -> None:
    batches = iter(loader)
    for _ in range(3):
        next(batches)

    with pytest.raises(UsageError, match=why):
        loader.switch(plan)

    assert loader.plan != plan
    assert len(list(batches)) == LENGTH // 4 - 3


def test_workers_that_draw_stay() -> None:
    refused(ours(Drawing(), num_workers=2), processes(3), "Each batch is made by its own worker")


def test_workers_that_draw_may_read_further_ahead() -> None:
    options: dict[str, Any] = {"num_workers": 2}

    seen = epochs(ours(Drawing(), **options), {5: processes(2, 5), 9: processes(2, 1)})

    assert seen == epochs(torchs(Drawing(), **options))


def test_a_sampler_whose_reading_shows_is_not_read_further_ahead() -> None:
    order = RandomSampler(Plain(), generator=torch.Generator())
    loader = wellfed.DataLoader(Plain(), batch_size=4, sampler=order, num_workers=2)

    refused(loader, processes(2, 5), "How far ahead the sampler is read may change")


def test_without_workers_nothing_changes() -> None:
    loader = wellfed.DataLoader(Plain(), batch_size=4)

    refused(loader, processes(2), "made by the back end 'inline'")


def test_threads_need_consent() -> None:
    loader = wellfed.DataLoader(Plain(), batch_size=4, num_workers=2)

    refused(loader, processes(2, 2, 4), "thread_safe=True")


class Endless(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(20))


def test_over_an_iterable_dataset_prefetch_changes_between_epochs_alone() -> None:
    loader = wellfed.DataLoader(Endless(), num_workers=2, persistent_workers=True)
    batches: Any = iter(loader)
    next(batches)
    loader.switch(processes(2, 4))
    within = batches.plan.prefetch
    list(batches)
    batches = iter(loader)

    assert (within, batches.plan.prefetch) == (2, 4)
    with pytest.raises(UsageError, match="because the dataset is iterable"):
        loader.switch(processes(3))


def test_a_loader_that_was_iterated_can_be_pickled() -> None:
    loader = ours(Plain(), num_workers=1)
    batches = iter(loader)
    next(batches)

    again = pickle.loads(pickle.dumps(loader))
    again.switch(processes(2))

    assert again.plan == processes(2)
    assert loader.plan is None
