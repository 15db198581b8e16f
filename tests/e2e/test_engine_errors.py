"""What the user's code raises arrives as torch hands it over, and says which sample raised it."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from fault_jobs import Numbers, firsts
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import Dataset, IterableDataset

import wellfed
from wellfed.records import Plan

LOADERS: list[Any] = [TorchDataLoader, wellfed.DataLoader]


# -- a sample


class Raising(Dataset[Any]):
    """One sample of 24 raises."""

    def __init__(self, make: Callable[[], BaseException]) -> None:
        self.make = make

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> Any:
        if index == 9:
            raise self.make()
        return index


class Several(Exception):
    def __init__(self, what: str, which: int) -> None:
        super().__init__(what, which)


ERRORS: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("bad"),
    "KeyError": lambda: KeyError("missing"),
    "Several": lambda: Several("sample", 9),
    "StopIteration": lambda: StopIteration("early"),
    "FileNotFoundError": lambda: FileNotFoundError(2, "No such file", "a.jpg"),
}


def steps(of: Any) -> list[Any]:
    """What each `next` gave or raised, until the end."""
    batches = iter(of)
    seen: list[Any] = []
    while len(seen) < 20:
        try:
            seen.append(next(batches).tolist())
        except StopIteration as end:
            seen.append(str(end).splitlines()[:1])
            break
        except Exception as error:
            said = str(error).replace("\\n", "\n").splitlines()
            seen.append((type(error), [line for line in said if not line.startswith("  ")]))
    shut_down(batches)
    return seen


def shut_down(batches: Any) -> None:
    """Left to the garbage collector after an error, torch takes 5 s for each worker."""
    batches._shutdown_workers()


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_sample_raises_is_what_torch_raises(kind: str, workers: int) -> None:
    torchs, ours = (
        steps(one(Raising(ERRORS[kind]), batch_size=4, num_workers=workers)) for one in LOADERS
    )

    assert ours == torchs


def caught(error: Exception) -> tuple[list[int], Exception]:
    """First numbers of the batches around the failure, and what was raised."""
    batches = iter(wellfed.DataLoader(Raising(lambda: error), batch_size=4, num_workers=1))
    got, raised = [next(batches), next(batches)], None
    try:
        next(batches)
    except Exception as one:
        raised = one
    got += list(batches)
    assert raised is not None
    return [int(batch[0]) for batch in got], raised


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes came with Python 3.11")
def test_a_note_names_the_sample() -> None:
    _, error = caught(ValueError("broken"))

    assert error.__notes__ == ["raised by the sample with index 9"]


def test_a_type_that_cannot_be_pickled_does_not_make_the_loop_wait_for_ever() -> None:
    class Local(Exception):
        pass

    batches, error = caught(Local("unseen"))

    assert batches == [0, 4, 12, 16, 20]
    assert type(error) is RuntimeError
    assert "Local: unseen" in str(error)


def test_torch_alone_says_where_it_was_raised() -> None:
    _, error = caught(ValueError("broken"))

    assert "wellfed" not in str(error).replace(__file__, "")
    assert "__getitem__" in str(error)
    assert torch.utils.data.get_worker_info() is None


# -- other code of the user's


def broken_init(worker: int) -> None:
    raise ValueError(f"worker {worker} cannot begin")


def broken_collate(samples: list[int]) -> Any:
    raise ValueError(f"{len(samples)} samples do not fit")


class BrokenStream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        raise ValueError("no stream")


@pytest.mark.parametrize(
    "options",
    [
        {"worker_init_fn": broken_init},
        {"collate_fn": broken_collate},
        {"dataset": BrokenStream()},
    ],
    ids=["worker_init_fn", "collate_fn", "an iterable's start"],
)
def test_what_other_code_raises_is_what_torch_raises(options: dict[str, Any]) -> None:
    def first(of: Any) -> tuple[Any, list[str]]:
        batches = iter(of(**{"dataset": Numbers(), "num_workers": 1, **options}))
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
            next(batches)
        shut_down(batches)
        lines = str(caught.value).splitlines()
        return caught.type, [line for line in lines if not line.startswith("  ")]

    torchs, ours = (first(of) for of in LOADERS)

    assert ours == torchs


class Opens(Numbers):
    def __getitem__(self, index: int) -> Any:
        return (lambda: index) if index == 11 else index


def test_a_batch_that_cannot_be_pickled_is_an_error_and_the_next_one_comes() -> None:
    loader = wellfed.DataLoader(Opens(24), batch_size=None, num_workers=2)
    batches = iter(loader)

    assert [next(batches) for _ in range(11)] == list(range(11))
    with pytest.raises(AttributeError, match="local object"):
        next(batches)
    assert list(batches) == list(range(12, 24))


class RaisesAt11(Numbers):
    def __getitem__(self, index: int) -> Any:
        if index == 11:
            raise ValueError("number 11")
        return super().__getitem__(index)


def test_an_exception_in_a_thread_is_the_users_own() -> None:
    plan = Plan(backend="processes", workers=1, prefetch=2, threads=4)
    loader = wellfed.DataLoader(
        RaisesAt11(24), batch_size=4, num_workers=1, plan=plan, thread_safe=True
    )
    batches = iter(loader)

    assert firsts([next(batches), next(batches)]) == [0, 4]
    with pytest.raises(ValueError, match="number 11"):
        next(batches)
    assert firsts(batches) == [12, 16, 20]
