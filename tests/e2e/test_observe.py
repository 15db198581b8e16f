"""`observe` and `diagnose`, called from a script: they watch, and then were never there."""

import gc
import importlib
import multiprocessing.process
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import heard, line_marked
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, _utils
from torch.utils.data import dataloader as torch_loader

import wellfed
from wellfed.errors import NoVerdict

counters = importlib.import_module("wellfed._engine.watch.counters")


class Numbers(Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([index])


def tensors() -> "DataLoader[Any]":
    return DataLoader(TensorDataset(torch.arange(64)), batch_size=2)


def replaced() -> list[object]:
    """All of torch and Python that watching may put something else in place of."""
    owners: list[Any] = [
        DataLoader,
        torch_loader._BaseDataLoaderIter,
        torch_loader._SingleProcessDataLoaderIter,
        torch_loader._MultiProcessingDataLoaderIter,
        _utils.fetch._MapDatasetFetcher,
        _utils.fetch._IterableDatasetFetcher,
        _utils.worker,
        _utils.pin_memory,
        multiprocessing.process.BaseProcess,
        threading.Thread,
    ]
    return [
        *(value for owner in owners for value in vars(owner).values() if callable(value)),
        sys.excepthook,
        threading.excepthook,
        *sys.meta_path,
    ]


def descriptors() -> set[str]:
    """What this process has open, but for the memory of batches, which are the test's."""
    gc.collect()
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:  # the one of the listing itself
            continue
    return {one for one in found if "/dev/shm/torch_" not in one}


# -- observe


def test_everything_is_put_back() -> None:
    before = replaced()
    iterator = iter(DataLoader(Numbers(), num_workers=1))
    with wellfed.observe():
        during = replaced()
        for loader in (tensors(), DataLoader(Numbers(), num_workers=1)):
            for _ in loader:
                pass
    after = replaced()
    del iterator

    assert all(one is other for one, other in zip(before, after, strict=True))
    assert not all(one is other for one, other in zip(before, during, strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: Any, workers: int) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for _ in DataLoader(Numbers(), num_workers=workers):  # torch opens things of its own, once
        pass
    before = descriptors()
    threads = threading.active_count()

    loader = DataLoader(Numbers(), batch_size=4, num_workers=workers)
    with wellfed.observe() as seen:
        for _ in range(3):
            next(iter(loader))
            for _ in loader:
                pass
    seen.diagnose()
    del seen, loader
    gc.collect()

    assert descriptors() == before
    assert threading.active_count() == threads
    # But the folder for `wellfed top`, which is one for each user and stays, empty.
    assert [path for path in tmp_path.rglob("*") if path.name != f"wellfed-{os.getuid()}"] == []


def test_an_exception_passes_and_what_was_seen_is_known() -> None:
    seen = wellfed.observe()
    before = replaced()

    def train() -> None:
        with seen:
            for number, _ in enumerate(tensors()):
                if number == 20:
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()

    report = seen.diagnose()
    assert report.trace.ended_because == "raised"
    assert len(report.trace.spans) == 21
    assert all(one is other for one, other in zip(before, replaced(), strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_one_observation_inside_another_sees_the_same(workers: int) -> None:
    loader = DataLoader(Numbers(), batch_size=4, num_workers=workers, persistent_workers=False)
    before = replaced()
    with wellfed.observe() as outer:
        for _ in loader:
            pass
        with wellfed.observe() as inner:
            for _ in loader:
                pass
        for _ in loader:
            pass
    traces = [one.diagnose().trace for one in (outer, inner)]

    assert [len(trace.spans) for trace in traces] == [18, 6]
    assert [heard(trace.spans) for trace in traces] == [18, 6]
    assert all(one is other for one, other in zip(before, replaced(), strict=True))


def test_one_observation_after_another_sees_persistent_workers() -> None:
    loader = DataLoader(Numbers(), batch_size=4, num_workers=1, persistent_workers=True)
    seen = []
    for _ in range(2):
        with wellfed.observe() as one:
            for _ in DataLoader(Numbers(), batch_size=4):
                pass
            for _ in loader:
                pass
        seen.append(one.diagnose().trace)

    assert [len(trace.spans) for trace in seen] == [6, 6]


def test_no_loader_is_no_verdict() -> None:
    with wellfed.observe() as seen:
        pass

    with pytest.raises(NoVerdict, match=r"no torch\.utils\.data\.DataLoader was iterated"):
        seen.diagnose()


# -- diagnose


def test_a_loader_is_diagnosed_with_its_step() -> None:
    batches: list[Any] = []
    before = replaced()

    report = wellfed.diagnose(tensors(), batches.append, seconds=0.5)  # handed over

    assert len(batches) == report.trace.spans_dropped + len(report.trace.spans)
    assert report.trace.ended_because == "stopped"
    # Built before anybody watched: told by the line that hands it over.
    assert str(report.trace.site) == line_marked(__file__, "# handed over")
    assert all(one is other for one, other in zip(before, replaced(), strict=True))


def test_an_error_of_the_step_passes() -> None:
    def step(batch: Any) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        wellfed.diagnose(tensors(), step)


def test_a_stream_that_runs_only_once_is_diagnosed() -> None:
    class Once(IterableDataset[int]):
        numbers = iter(range(40))

        def __iter__(self) -> Iterator[int]:
            return self.numbers

    report = wellfed.diagnose(DataLoader(Once(), batch_size=2))

    assert len(report.trace.spans) == 20
    assert report.trace.ended_because == "finished"


def test_an_empty_dataset_is_no_verdict() -> None:
    empty = DataLoader(TensorDataset(torch.empty(0)))

    with pytest.raises(NoVerdict, match=r"test_observe.py:\d+ gave 0 batches"):
        wellfed.diagnose(empty)


def test_something_else_than_a_loader_is_no_verdict() -> None:
    with pytest.raises(NoVerdict, match=r"no torch\.utils\.data\.DataLoader was iterated"):
        wellfed.diagnose([1, 2, 3])


# -- signals that cannot be read


def test_a_hardened_proc_leaves_its_signals_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "_open", lambda path: None)

    report = wellfed.diagnose(DataLoader(Numbers(), batch_size=2, num_workers=1), seconds=0.5)

    assert heard(report.trace.spans) == len(report.trace.spans) > 0
    assert {span.run_queue_ns for span in report.trace.spans} == {-1}
    assert {span.read_bytes for span in report.trace.spans} == {-1}


def test_a_fault_of_the_watching_leaves_training_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from wellfed._attach import pacer

    def broken(*_: Any) -> Any:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(pacer.Pacer, "step", broken)
    with wellfed.observe() as seen:
        delivered = sum(1 for _ in tensors())

    assert delivered == 32
    assert caplog.text.count("training is not affected") == 1
    assert "a fault of ours" in seen.diagnose().trace.failures[0]


def test_a_fault_of_the_watching_does_not_keep_diagnose_going(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from wellfed._attach import pacer

    steps = iter([pacer.Pace.GO_ON] * 40)
    monkeypatch.setattr(pacer.Pacer, "step", lambda *_: next(steps))

    report = wellfed.diagnose(tensors())

    assert "StopIteration" in report.trace.failures[0]
