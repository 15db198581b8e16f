"""Plans by hand and by "auto", and jobs whose batches turn out to be bound to their workers."""

import random
import threading
import time
from typing import Any

import pytest
import torch
from fault_jobs import PATIENCE_S, Numbers, Slow, begun, firsts
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import Dataset, Sampler

import wellfed
from wellfed.errors import UsageError
from wellfed.records import Plan


class Uneven(Dataset[Any]):
    """Later samples have a key that the first ones lack, and that torch drops with them."""

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> Any:
        return {"a": index} if index % 4 < 2 else {"a": index, "b": index}


def test_parts_that_do_not_fit_say_why_batches_stay_with_their_workers() -> None:
    iterator = begun(Uneven())

    first = next(iterator)

    assert (list(first), first["a"].tolist()) == (["a"], [0, 1, 2, 3])
    assert iterator._stream.why_fixed == "parts of a batch do not add up to the whole"


class Counts(Dataset[Any]):
    """A sample tells how many its process has fetched; the first one is late."""

    def __init__(self, delivered: Any) -> None:
        self.delivered = delivered
        self.fetched = 0

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> Any:
        if index == 0:
            self.delivered.wait(1.0)
        self.fetched += 1
        return torch.tensor([index, self.fetched])


def test_out_of_order_nothing_is_handed_over_before_the_first_batch_was_looked_at() -> None:
    """Four logical workers in three processes: two of them would count together."""
    delivered = torch.multiprocessing.get_context("fork").Event()
    plan = Plan(backend="processes", workers=3, prefetch=2, in_order=False)
    dataset = Counts(delivered)
    loader = wellfed.DataLoader(dataset, batch_size=2, num_workers=4, in_order=False, plan=plan)

    seen = []
    for batch in loader:
        delivered.set()
        seen.append(batch.flatten().tolist())

    # Batch k is the (k // 4)th of its worker.
    firsts_and_counts = [(2 * k, 2 * (k // 4)) for k in range(12)]
    assert sorted(seen) == [[at, n + 1, at + 1, n + 2] for at, n in firsts_and_counts]


class Owner(Numbers):
    """Draws from a generator of its own: each worker has a copy of it."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "own", random.Random(4))

    def __getitem__(self, index: int) -> Any:
        return self.__dict__["own"].random()


INLINE = Plan(backend="inline")


def test_what_belongs_to_each_worker_is_refused_in_the_trainers_process() -> None:
    loader = wellfed.DataLoader(Owner(), batch_size=8, num_workers="auto", plan=INLINE)

    with pytest.raises(UsageError, match="holds a Random of its own"):
        iter(loader)


def test_a_worker_init_fn_is_refused_in_the_trainers_process() -> None:
    loader: Any = wellfed.DataLoader(
        Numbers(), num_workers="auto", plan=INLINE, worker_init_fn=lambda worker: None
    )

    with pytest.raises(UsageError, match="worker_init_fn is to be called in each worker"):
        iter(loader)


def test_batches_that_depend_on_their_indices_alone_may_be_made_in_the_trainers_process() -> None:
    loader = wellfed.DataLoader(Numbers(), batch_size=4, num_workers="auto", plan=INLINE)

    assert [float(batch[0, 0]) for batch in loader] == [4.0 * number for number in range(25)]


class Breaks(Sampler[int]):
    """Raises after its first index."""

    def __iter__(self) -> Any:
        yield 0
        raise LookupError("no more of this")


def test_an_epoch_ends_after_a_sampler_that_raised_as_in_torch() -> None:
    def steps(kind: Any) -> list[Any]:
        options = {"num_workers": 1, "prefetch_factor": 1, "timeout": 20}
        batches = iter(kind(Numbers(), sampler=Breaks(), **options))
        seen: list[Any] = []
        for _ in range(3):
            try:
                seen.append(next(batches).tolist())
            except (LookupError, StopIteration) as error:
                seen.append(type(error))
        return seen

    assert steps(wellfed.DataLoader) == steps(TorchDataLoader)


@pytest.mark.parametrize("timeout", [1, 1.0, 0.5])
def test_a_batch_that_takes_too_long_is_told_in_torchs_words(timeout: float) -> None:
    loader = wellfed.DataLoader(Hangs(), batch_size=4, num_workers=1, timeout=timeout)

    with pytest.raises(RuntimeError) as raised:
        list(loader)

    # Torch's own text shows the number as it was given.
    assert str(raised.value) == f"DataLoader timed out after {timeout} seconds"


class Hangs(Numbers):
    def __getitem__(self, index: int) -> Any:
        threading.Event().wait(60)


class OpensLate(Dataset[Any]):
    """Changes itself when it is first asked, as datasets do that open their file then."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> Any:
        self.calls.append(index)
        return torch.tensor([index, len(self.calls)])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_dataset_that_changes_itself_gives_what_torchs_workers_give(method: str) -> None:
    def batches(kind: Any) -> list[list[float]]:
        loader = kind(OpensLate(), batch_size=4, num_workers=2, multiprocessing_context=method)
        return [batch.tolist() for batch in loader]

    assert batches(wellfed.DataLoader) == batches(TorchDataLoader)


def test_nothing_ahead_is_one_batch_a_worker() -> None:
    loader = wellfed.DataLoader(Numbers(8), batch_size=2, num_workers=2, prefetch_factor=0)

    assert firsts(loader) == [0, 2, 4, 6]


# -- threads


class Drawing(Numbers):
    def __getitem__(self, index: int) -> Any:
        return torch.rand(3) + index


@pytest.mark.parametrize("drawing", [False, True])
def test_threads_in_a_worker_give_torchs_batches(drawing: bool) -> None:
    def batches(kind: Any, **more: Any) -> list[list[float]]:
        torch.manual_seed(3)
        loader = kind(
            Drawing(24) if drawing else Numbers(50),
            batch_size=5,
            num_workers=2,
            shuffle=True,
            **more,
        )
        return [batch.flatten().tolist() for _ in range(2) for batch in loader]

    plan = Plan(backend="processes", workers=2, prefetch=2, threads=8)

    assert batches(wellfed.DataLoader, plan=plan, thread_safe=True) == batches(TorchDataLoader)


# -- samples that are timed to choose a plan


def test_timing_samples_ends_with_the_timeout() -> None:
    loader = wellfed.DataLoader(Slow(seconds=600), num_workers="auto", timeout=0.5)
    began_s = time.monotonic()

    with pytest.raises(RuntimeError, match=r"^DataLoader timed out after 0\.5 seconds$"):
        next(iter(loader))

    assert time.monotonic() - began_s < PATIENCE_S


def test_timing_samples_changes_no_batch() -> None:
    loader = wellfed.DataLoader(Counting(), batch_size=8, num_workers="auto")

    assert next(iter(loader)).tolist() == list(range(1, 9))


def test_timing_draws_from_no_generator_of_the_datasets_own() -> None:
    loader = wellfed.DataLoader(Owner(), batch_size=8, num_workers="auto")
    own = random.Random(4)

    assert next(iter(loader)).tolist() == [own.random() for _ in range(8)]


class Counting(Numbers):
    """Changes itself: sample by sample it counts on."""

    def __getitem__(self, index: int) -> Any:
        object.__setattr__(self, "made", getattr(self, "made", 0) + 1)
        return self.__dict__["made"]
