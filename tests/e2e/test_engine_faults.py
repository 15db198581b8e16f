"""What kills torch's loader is told at once by ours, and nothing of it is left behind."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import Dataset

import wellfed
from wellfed._engine import memory
from wellfed.records import Plan

EXITED = r"DataLoader worker \(pid\(s\) \d+\) exited unexpectedly"
SOON_S = 4.0
"""Well below the 5 s in which torch's loader looks after its workers."""


class Numbers(Dataset[Any]):
    """Plain samples; a subclass does something at number 11."""

    def __init__(self, length: int = 24) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        if index == 11:
            self.strike()
        return torch.full((2000,), float(index))

    def strike(self) -> None:
        """Nothing by default."""


class Killed(Numbers):
    def strike(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Exits(Numbers):
    def strike(self) -> None:
        os._exit(7)


class LeavesPython(Numbers):
    def strike(self) -> None:
        sys.exit(0)


class Faults(Numbers):
    def strike(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class Hangs(Numbers):
    def strike(self) -> None:
        threading.Event().wait(60)


class Opens(Numbers):
    def __getitem__(self, index: int) -> Any:
        return (lambda: index) if index == 11 else index


def firsts(batches: Any) -> list[float]:
    return [float(batch.flatten()[0]) for batch in batches]


@pytest.fixture(autouse=True)
def no_descriptor_left_behind() -> Iterator[None]:
    """Fails a test that leaves descriptors or threads."""
    resource_tracker.ensure_running()  # spawning starts it, and it stays
    gc.collect()
    fds, threads = psutil.Process().num_fds(), threading.active_count()
    yield
    gc.collect()
    assert psutil.Process().num_fds() <= fds
    assert threading.active_count() <= threads


@pytest.mark.parametrize("kind", [Killed, Exits, LeavesPython, Faults])
def test_a_dead_worker_is_an_error_at_once(kind: Callable[[], Numbers]) -> None:
    began = time.monotonic()

    with pytest.raises(RuntimeError, match=EXITED):
        list(wellfed.DataLoader(kind(), batch_size=4, num_workers=2))

    assert time.monotonic() - began < SOON_S


def test_the_cause_says_how_a_worker_died() -> None:
    with pytest.raises(RuntimeError, match=EXITED) as caught:
        list(wellfed.DataLoader(Killed(), batch_size=4, num_workers=2))

    assert "is killed by signal: Killed" in str(caught.value.__cause__)


def test_a_batch_that_takes_too_long_is_told_in_torchs_words() -> None:
    loader = wellfed.DataLoader(Hangs(), batch_size=4, num_workers=2, timeout=1)

    with pytest.raises(RuntimeError, match="DataLoader timed out after 1 seconds"):
        list(loader)


def test_a_batch_that_cannot_be_pickled_is_an_error_and_the_next_one_comes() -> None:
    loader = wellfed.DataLoader(Opens(), batch_size=None, num_workers=2)
    batches = iter(loader)

    assert [next(batches) for _ in range(11)] == list(range(11))
    with pytest.raises(AttributeError, match="local object"):
        next(batches)
    assert list(batches) == list(range(12, 24))


@pytest.mark.parametrize("persistent", [False, True])
def test_a_loop_that_is_left_takes_its_workers_along(persistent: bool) -> None:
    loader = wellfed.DataLoader(
        Numbers(), batch_size=4, num_workers=2, persistent_workers=persistent
    )
    for _ in loader:
        break


def test_an_exception_in_the_loop_leaves_nothing() -> None:
    def train() -> None:
        for _ in wellfed.DataLoader(Numbers(), batch_size=4, num_workers=2):
            raise ValueError("of the step")

    with pytest.raises(ValueError, match="of the step"):
        train()


def test_a_dropped_iterator_is_gone_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        batches = iter(wellfed.DataLoader(Numbers(), batch_size=4, num_workers=1))
        next(batches)
        (pid,) = batches._workers  # type: ignore[attr-defined]
        del batches
        assert not psutil.pid_exists(pid)
    finally:
        gc.enable()


def test_two_iterators_of_one_loader_live_side_by_side() -> None:
    loader = wellfed.DataLoader(Numbers(8), batch_size=2, num_workers=2)

    pairs = list(zip(loader, loader, strict=True))

    assert firsts(one for one, _ in pairs) == firsts(other for _, other in pairs) == [0, 2, 4, 6]


def test_another_thread_may_iterate() -> None:
    got: list[float] = []
    loader = wellfed.DataLoader(Numbers(8), batch_size=2, num_workers=2)
    thread = threading.Thread(target=lambda: got.extend(firsts(loader)))
    thread.start()
    thread.join(60)

    assert got == [0, 2, 4, 6]


class OpensLate(Numbers):
    """Changes itself when it is first asked, as datasets do that open their file then."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

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


def test_batches_that_are_kept_stay_as_they_are() -> None:
    loader = wellfed.DataLoader(Numbers(400), batch_size=2, num_workers=2)

    kept = list(loader)

    assert firsts(kept) == [float(number) for number in range(0, 400, 2)]


def test_a_child_forked_in_mid_epoch_is_harmless() -> None:
    batches = iter(wellfed.DataLoader(Numbers(), batch_size=4, num_workers=2))
    first = next(batches)
    child = os.fork()
    if child == 0:
        del batches
        os._exit(0 if float(first.sum()) == 2000 * 6 else 1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert firsts(batches) == [4, 8, 12, 16, 20]


def test_without_anonymous_memory_files_carry_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise OSError("refused")

    monkeypatch.setattr(memory, "_anonymous", refuse)

    loader = wellfed.DataLoader(Numbers(), batch_size=4, num_workers=2)

    assert firsts(loader) == [0, 4, 8, 12, 16, 20]


def test_a_long_list_of_indices_reaches_the_worker() -> None:
    batches = [list(range(20_000)), list(range(20_000, 40_000))]
    loader = wellfed.DataLoader(Places(40_000), batch_sampler=batches, num_workers=1)

    assert [int(batch.sum()) for batch in loader] == [sum(indices) for indices in batches]


class Places(Numbers):
    def __getitem__(self, index: int) -> Any:
        return index


@pytest.mark.parametrize("drawing", [False, True])
def test_threads_in_a_worker_give_torchs_batches(drawing: bool) -> None:
    def batches(kind: Any, **more: Any) -> list[list[float]]:
        torch.manual_seed(3)
        loader = kind(
            Drawing() if drawing else Numbers(50), batch_size=5, num_workers=2, shuffle=True, **more
        )
        return [batch.flatten().tolist() for _ in range(2) for batch in loader]

    plan = Plan(backend="processes", workers=2, prefetch=2, threads=8)

    assert batches(wellfed.DataLoader, plan=plan, thread_safe=True) == batches(TorchDataLoader)


class Drawing(Numbers):
    def __getitem__(self, index: int) -> Any:
        return torch.rand(3) + index


def test_an_exception_in_a_thread_is_the_users_own() -> None:
    plan = Plan(backend="processes", workers=1, prefetch=2, threads=4)
    loader = wellfed.DataLoader(Raises(), batch_size=4, num_workers=1, plan=plan, thread_safe=True)
    batches = iter(loader)

    assert firsts([next(batches), next(batches)]) == [0, 4]
    with pytest.raises(ValueError, match="number 11"):
        next(batches)
    assert firsts(batches) == [12, 16, 20]


class Raises(Numbers):
    def strike(self) -> None:
        raise ValueError("number 11")


# -- the trainer's own end


SCRIPT = """
    import sys, time, torch, wellfed
    from torch.utils.data import Dataset

    class Numbers(Dataset):
        def __len__(self):
            return 1000
        def __getitem__(self, index):
            return torch.full((2000,), float(index))

    batches = iter(wellfed.DataLoader(Numbers(), batch_size=4, num_workers=2))
    next(batches)
    print(*batches._workers, flush=True)
"""


def script(path: Path, end: str) -> list[str]:
    path.write_text(textwrap.dedent(SCRIPT) + end)
    return [sys.executable, str(path)]


def test_a_program_may_end_with_an_iterator_alive(tmp_path: Path) -> None:
    ran = subprocess.run(
        script(tmp_path / "train.py", ""), capture_output=True, text=True, timeout=60, check=False
    )

    assert (ran.returncode, ran.stderr) == (0, "")
    assert not any(psutil.pid_exists(int(pid)) for pid in ran.stdout.split())


def test_workers_end_when_the_trainer_is_killed(tmp_path: Path) -> None:
    trainer = subprocess.Popen(
        script(tmp_path / "train.py", "time.sleep(60)"), stdout=subprocess.PIPE, text=True
    )
    assert trainer.stdout is not None
    workers = [psutil.Process(int(pid)) for pid in trainer.stdout.readline().split()]
    family = psutil.Process(trainer.pid).children(recursive=True)
    trainer.kill()
    trainer.communicate(timeout=60)

    assert len(workers) == 2
    _, alive = psutil.wait_procs(family, timeout=20)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
