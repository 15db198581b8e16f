"""Whole loaders whose batches are copied by a destination: the engine's own, on the host."""

import gc
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from host_copies import HostCopies
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset

import wellfed
from wellfed import _serving
from wellfed._engine.carrier import THREAD_NAME
from wellfed.errors import UsageError
from wellfed.records import Plan

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


class Drawn(Dataset[Any]):
    """Samples of 40 KB that draw, and one that may be broken."""

    def __init__(self, broken: int = -1) -> None:
        self.broken = broken

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> Any:
        if index == self.broken:
            raise KeyError(f"sample {index}")
        return {"x": torch.full((10_000,), float(index)), "noise": torch.rand(3), "name": "n"}


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from torch.arange(9_000.0).reshape(9, 1_000)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> HostCopies:
    """Every loader's batches are copied to it."""
    made = HostCopies(marks=True)
    monkeypatch.setattr(_serving, "destination", lambda device, pin_memory: made)
    return made


def run(kind: Any, dataset: Any, **options: Any) -> list[Any]:
    """All batches of two epochs, and the generator's state after each."""
    torch.manual_seed(3)
    loader = kind(dataset, **options)
    seen: list[Any] = []
    for _ in range(2):
        for batch in loader:
            torch.rand(1)  # the trainer draws from it too
            seen.append([one.tolist() for one in tensors(batch)])
        seen.append(torch.get_rng_state().tolist())
    return seen


def tensors(batch: Any) -> list[Any]:
    values = batch.values() if isinstance(batch, dict) else [batch]
    values = batch if isinstance(batch, list) else values
    return [one for one in values if isinstance(one, torch.Tensor)]


CASES: dict[str, dict[str, Any]] = {
    "in order": {"dataset": Drawn(), "batch_size": 4, "num_workers": 2},
    "shuffled": {"dataset": Drawn(), "batch_size": 3, "num_workers": 2, "shuffle": True},
    "one ahead": {"dataset": Drawn(), "batch_size": 3, "num_workers": 1, "prefetch_factor": 1},
    "a stream": {"dataset": Stream(), "batch_size": 2, "num_workers": 2},
    "no batches": {"dataset": Drawn(), "batch_size": None, "num_workers": 2},
    "without workers": {"dataset": Drawn(), "batch_size": 4, "shuffle": True},
    "rows": {"dataset": TensorDataset(torch.rand(20, 3)), "batch_size": 4, "num_workers": 2},
}


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_copied_batches_and_all_draws_are_torchs(
    name: str, persistent: bool, host: HostCopies
) -> None:
    """The sampler draws from the generator that the trainer draws from, at torch's moments."""
    options = dict(CASES[name])
    dataset = options.pop("dataset")
    if options.get("shuffle"):
        options["shuffle"] = None
        options["sampler"] = RandomSampler(dataset, generator=torch.default_generator)
    if persistent and options.get("num_workers"):
        options["persistent_workers"] = True

    assert run(wellfed.DataLoader, dataset, **options) == run(DataLoader, dataset, **options)
    by = THREAD_NAME if name in list(CASES)[:5] else threading.current_thread().name
    assert host.threads == {by}


def test_batches_that_are_kept_are_not_overwritten(host: HostCopies) -> None:
    loader = wellfed.DataLoader(Drawn(), batch_size=2, num_workers=2)
    kept = list(loader)

    assert [float(batch["x"][0, 0]) for batch in kept] == [2.0 * number for number in range(12)]


def test_a_broken_sample_raises_in_its_place(host: HostCopies) -> None:
    iterator = iter(wellfed.DataLoader(Drawn(broken=9), batch_size=4, num_workers=2))
    seen: list[Any] = []
    while True:
        try:
            seen.append(float(next(iterator)["x"][0, 0]))
        except KeyError as error:
            seen.append(str(error))
        except StopIteration:
            break

    assert seen[:2] + seen[3:] == [0, 4, 12, 16, 20]
    assert "in DataLoader worker process 0" in seen[2]
    assert "sample 9" in seen[2]


@pytest.mark.parametrize("left", ["break", "del", "exception", "close"])
def test_whichever_way_a_loop_is_left_the_thread_ends(left: str, host: HostCopies) -> None:
    loader = wellfed.DataLoader(Drawn(), batch_size=2, num_workers=2)
    iterator: Any = iter(loader)
    next(iterator)
    if left == "exception":
        with pytest.raises(ZeroDivisionError):
            all(1 // 0 for _ in iterator)
    elif left == "close":
        iterator._shutdown_workers()
    elif left == "break":
        for _ in iterator:
            break
    del iterator
    gc.collect()

    assert THREAD_NAME not in [thread.name for thread in threading.enumerate()]


KEPT = """
import sys
sys.path.insert(0, {folder!r})
from host_copies import always
import torch
from torch.utils.data import TensorDataset
import wellfed
from wellfed import _serving

_serving.destination = always

class Slow(torch.utils.data.Dataset):
    def __len__(self):
        return 100
    def __getitem__(self, index):
        return torch.full((5_000,), float(index))

iterator = iter(wellfed.DataLoader(Slow(), batch_size=4, num_workers=2))
print(int(next(iterator)[0, 0]))
{end}
"""


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "cycle = [iterator]; cycle.append(cycle)"])
def test_a_program_that_keeps_its_iterator_ends(end: str) -> None:
    folder = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", KEPT.format(folder=folder, end=end)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def test_without_an_accelerator_pinning_says_what_torch_says_and_pins_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    said = []
    for kind in (DataLoader, wellfed.DataLoader):
        loader = kind(Drawn(), batch_size=8, pin_memory=True, pin_memory_device="cuda")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            (first, *_) = list(loader)
        assert not first["x"].is_pinned()
        said.append([(one.category, str(one.message)) for one in caught])

    assert len(said[0]) == 2
    assert said[0] == said[1]


def test_a_device_that_is_not_there_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    with pytest.raises(UsageError, match="device='cuda' cannot be given batches"):
        wellfed.DataLoader(Drawn(), device="cuda")


def test_torchs_own_iterator_has_no_device_and_does_not_pretend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: cuda)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    loader = wellfed.DataLoader(Drawn(), device="cuda", plan=Plan(backend="torch"))
    with pytest.raises(UsageError, match=r"device='cuda' needs the engine.*The plan asks for"):
        iter(loader)


def test_the_host_is_a_device_that_changes_nothing() -> None:
    loader = wellfed.DataLoader(Drawn(), batch_size=12, device="cpu")

    assert loader.device == "cpu"
    assert len(list(loader)) == 2
