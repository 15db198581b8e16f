"""The workers of an iterator can be asked what torch's can, and outlive nothing."""

import os
import pickle
import re
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from torch.utils.data import Dataset

import wellfed
from wellfed._engine.worker_pids import WorkerPid

PATIENCE_S = 20
# Linux tells how somebody else's child ended since 6.15.
TELLS = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= (6, 15)


class Squares(Dataset[int]):
    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> int:
        return index**2


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_the_workers_of_an_iterator_are_processes_that_end_with_it() -> None:
    iterator: Any = iter(wellfed.DataLoader(Squares(), num_workers=2))
    workers = iterator._workers

    assert [worker.is_alive() for worker in workers] == [True, True]
    assert [worker.exitcode for worker in workers] == [None, None]
    assert len({worker.pid for worker in workers} - {os.getpid()}) == 2

    del iterator
    for worker in workers:
        worker.join(PATIENCE_S)
        assert not worker.is_alive()
        assert worker.exitcode == (0 if TELLS else None)
        worker.terminate()


def test_the_workers_of_an_iterator_that_has_ended_are_listed_still() -> None:
    iterator: Any = iter(wellfed.DataLoader(Squares(), num_workers=2))
    pids = [worker.pid for worker in iterator._workers]
    list(iterator)

    assert [worker.pid for worker in iterator._workers] == pids
    assert not any(worker.is_alive() for worker in iterator._workers)
    assert {worker.exitcode for worker in iterator._workers} == {0 if TELLS else None}


def test_a_loader_without_workers_lists_none() -> None:
    iterator: Any = iter(wellfed.DataLoader(Squares()))

    assert iterator._workers == []


@pytest.mark.parametrize(("way", "number"), [("terminate", 15), ("kill", 9)])
def test_a_worker_can_be_ended(sleeper: subprocess.Popen[bytes], way: str, number: int) -> None:
    worker = WorkerPid(sleeper.pid)

    getattr(worker, way)()

    worker.join()
    assert not worker.is_alive()
    assert sleeper.wait(PATIENCE_S) == -signal.Signals(number)
    assert worker.exitcode == (-number if TELLS else None)


def test_joining_is_bounded(sleeper: subprocess.Popen[bytes]) -> None:
    worker = WorkerPid(sleeper.pid)

    worker.join(0.01)

    assert worker.is_alive()


def test_a_pid_of_nobody_has_ended() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait(PATIENCE_S)
    worker = WorkerPid(process.pid)

    assert not worker.is_alive()
    worker.join()
    worker.kill()


def test_no_descriptor_is_left() -> None:
    before = os.listdir("/proc/self/fd")
    workers = [WorkerPid(os.getpid()) for _ in range(10)]
    assert len(os.listdir("/proc/self/fd")) == len(before) + 10

    del workers

    assert os.listdir("/proc/self/fd") == before


def test_a_copy_is_a_number() -> None:
    assert pickle.loads(pickle.dumps(WorkerPid(os.getpid()))) == os.getpid()
