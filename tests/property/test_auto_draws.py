"""With num_workers="auto", a batch is the same whoever makes it."""

import copy
import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import Dataset, IterableDataset, default_collate

import wellfed
from wellfed._engine.auto import Timed, choose
from wellfed._engine.auto_workers import AutoWorkers
from wellfed.job import Job
from wellfed.records import Plan


class Drawing(Dataset[Any]):
    def __len__(self) -> int:
        return 22

    def __getitem__(self, index: int) -> Any:
        return index, torch.rand(2), random.random(), np.random.rand(3)


def collate_with_noise(samples: Any) -> Any:
    return [*default_collate(samples), torch.rand(1)]


PLANS = {
    "chosen": None,
    "one process": Plan(backend="processes", workers=1, prefetch=2),
    "three processes": Plan(backend="processes", workers=3, prefetch=2),
    "threads": Plan(backend="processes", workers=2, prefetch=2, threads=4),
    "inline": Plan(backend="inline"),
}


def epochs(plan: Plan | None, *, persistent: bool = False, **more: Any) -> Any:
    """Two epochs as plain numbers, and where the trainer's generators stand after them."""
    torch.manual_seed(1)
    random.seed(2)
    np.random.seed(3)
    loader = wellfed.DataLoader(
        Drawing(),
        batch_size=4,
        shuffle=True,
        num_workers="auto",
        plan=plan,
        thread_safe=True,
        persistent_workers=persistent,
        **more,
    )
    batches = [[one.tolist() for one in batch] for _ in range(2) for batch in loader]
    return batches, random.random(), np.random.rand(), torch.rand(1).item()


@pytest.mark.parametrize("collate", [default_collate, collate_with_noise])
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_the_plan_changes_no_batch(plan: Plan | None, collate: Any) -> None:
    assert epochs(plan, collate_fn=collate) == epochs(PLANS["inline"], collate_fn=collate)


def test_the_order_is_torchs_and_no_two_epochs_are_alike() -> None:
    def order(kind: Any, workers: Any) -> list[list[int]]:
        torch.manual_seed(1)
        loader = kind(Drawing(), batch_size=4, shuffle=True, num_workers=workers)
        return [batch[0].tolist() for batch in loader]

    assert order(wellfed.DataLoader, "auto") == order(TorchDataLoader, 2)

    batches, *_ = epochs(PLANS["one process"], persistent=True)
    assert batches[0][1] != batches[6][1]


def test_an_iterable_dataset_loses_no_sample() -> None:
    class Stream(IterableDataset[int]):
        def __iter__(self) -> Any:
            return iter(range(20))

    loader = wellfed.DataLoader(Stream(), batch_size=3, num_workers="auto")

    assert [value for batch in loader for value in batch.tolist()] == list(range(20))


def test_tensors_in_memory_need_no_worker() -> None:
    table = torch.utils.data.TensorDataset(torch.arange(12).reshape(6, 2))
    batches: Any = iter(wellfed.DataLoader(table, batch_size=2, num_workers="auto"))

    assert batches.backend == "inline"
    assert [tensor.tolist() for (tensor,) in batches] == Tensor(
        [[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8, 9], [10, 11]]]
    ).int().tolist()


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))]
)
def test_auto_survives_being_copied_and_passed_back(again: Any) -> None:
    workers = wellfed.DataLoader(Drawing(), num_workers="auto").num_workers

    assert type(again(workers)) is AutoWorkers
    assert again(workers) == workers >= 1
    assert (
        type(wellfed.DataLoader(Drawing(), num_workers=again(workers)).num_workers) is AutoWorkers
    )


def test_another_word_is_refused() -> None:
    with pytest.raises(ValueError, match="'auto', but got num_workers='many'"):
        wellfed.DataLoader(Drawing(), num_workers="many")


CPUS = Plan(backend="auto", workers=4, prefetch=2)


@pytest.mark.parametrize(
    ("wall_s", "cpu_s", "consent", "backend", "workers", "threads"),
    [
        (0.000_002, 0.000_002, False, "inline", 0, 0),
        (0.004, 0.004, False, "processes", 4, 0),
        (0.020, 0.000_5, False, "processes", 16, 0),
        (0.020, 0.000_5, True, "processes", 4, 40),
        (0.020, 0.0, True, "processes", 4, 64),
    ],
)
def test_what_is_chosen_follows_from_what_a_sample_takes(
    wall_s: float, cpu_s: float, consent: bool, backend: str, workers: int, threads: int
) -> None:
    job = Job(dataset=Drawing(), batch_sampler=(), workers=4, by_position=True, thread_safe=consent)

    plan = choose(job, CPUS, Timed(wall_s, cpu_s), samples=32)

    assert (plan.backend, plan.workers, plan.threads) == (backend, workers, threads)


def test_samples_that_raise_are_left_to_the_workers_to_tell() -> None:
    job = Job(dataset=Drawing(), batch_sampler=(), workers=4, by_position=True)

    assert choose(job, CPUS, None, samples=32).backend == "processes"
