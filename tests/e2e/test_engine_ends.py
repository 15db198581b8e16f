"""Every way out of a loader: what the trainer is told, and that nothing stays behind."""

import gc
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import Dataset, IterableDataset, default_collate, get_worker_info

import wellfed

EXITED = r"DataLoader worker \(pid\(s\) [\d, ]+\) exited unexpectedly"
SOON_S = 4.0
"""Well below the 5 s in which torch's loader looks after its workers."""
LOADERS: list[Any] = [TorchDataLoader, wellfed.DataLoader]


class Numbers(Dataset[Any]):
    def __init__(self, length: int = 24, floats: int = 2000) -> None:
        self.length = length
        self.floats = floats

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return torch.full((self.floats,), float(index))


def loader(dataset: Any = None, **options: Any) -> Any:
    given = {"batch_size": 4, "num_workers": 2, **options}
    return wellfed.DataLoader(Numbers() if dataset is None else dataset, **given)


def firsts(batches: Any) -> list[float]:
    return [float(batch.flatten()[0]) for batch in batches]


def left() -> tuple[int, int, int]:
    """Descriptors, threads, and mappings of shared memory of this process."""
    gc.collect()
    maps = Path("/proc/self/maps").read_text().splitlines()
    mapped = sum("wellfed" in line for line in maps)
    return psutil.Process().num_fds(), threading.active_count(), mapped


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fails a test that leaves descriptors, threads or mappings; `conftest` looks at processes."""
    # Python's own, which stay: what is made at first use counts for no test.
    resource_tracker.ensure_running()
    forkserver.ensure_running()
    before = left()
    yield
    after = left()
    assert all(now <= then for now, then in zip(after, before, strict=True)), (before, after)


# -- a process dies


def test_a_worker_killed_between_two_batches_is_told_at_once() -> None:
    """What it had made before is still delivered, in order, and nothing after what it owes."""
    batches = iter(loader(Numbers(400), prefetch_factor=1))
    got = firsts([next(batches)])
    os.kill(batches._workers[0], signal.SIGKILL)
    began = time.monotonic()

    with pytest.raises(RuntimeError, match=EXITED):
        got += firsts(iter(lambda: next(batches), None))

    assert time.monotonic() - began < SOON_S
    assert got == [4.0 * number for number in range(len(got))]
    with pytest.raises(RuntimeError, match=EXITED):
        next(batches)


def test_all_workers_may_die_at_once() -> None:
    batches = iter(loader(Numbers(400)))
    next(batches)
    for pid in batches._workers:
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(RuntimeError, match=EXITED):
        list(batches)


def test_workers_that_are_killed_before_their_first_batch() -> None:
    batches = iter(loader(Numbers(400)))
    for pid in batches._workers:
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(RuntimeError, match=EXITED):
        list(batches)


def test_a_loader_may_be_iterated_again_after_a_death() -> None:
    of = loader(Numbers(400))
    batches = iter(of)
    os.kill(batches._workers[0], signal.SIGKILL)
    with pytest.raises(RuntimeError, match=EXITED):
        list(batches)

    assert firsts(of) == [4.0 * number for number in range(100)]


def test_a_template_that_is_killed_takes_the_iterator_along() -> None:
    batches = iter(loader(Numbers(4000)))
    next(batches)
    template = psutil.Process(batches._workers[0]).parent()
    assert template is not None
    template.kill()

    with pytest.raises(RuntimeError, match=EXITED):
        list(batches)


@pytest.mark.parametrize("sockets_first", [False, True])
def test_an_iterator_in_a_cycle_is_collected_without_a_word(sockets_first: bool) -> None:
    batches = iter(loader())
    next(batches)
    cycle: list[Any] = [batches]
    cycle.append(cycle)
    if sockets_first:  # the garbage collector keeps to no order
        for member in batches._stream._crew._members:
            member.socket.__del__()
    del batches, cycle
    gc.collect()


class Stuck(Numbers):
    def __getitem__(self, index: int) -> Any:
        if index >= 4:
            threading.Event().wait(60)
        return super().__getitem__(index)


def test_a_sample_that_never_ends_does_not_hold_up_the_end() -> None:
    batches = iter(loader(Stuck()))
    next(batches)
    began = time.monotonic()
    del batches

    assert time.monotonic() - began < SOON_S + 2


# -- what the user's code raises


class Raising(Numbers):
    def __init__(self, make: Callable[[], BaseException]) -> None:
        super().__init__()
        self.make = make

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


# -- start methods


class Local:
    """Holds what cannot be pickled."""

    def __init__(self) -> None:
        self.collate = lambda samples: samples

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.parametrize("options", [{"dataset": Local()}, {"collate_fn": lambda many: many}])
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_what_cannot_be_pickled_warns_and_raises_as_in_torch(
    method: str, options: dict[str, Any]
) -> None:
    def start(of: Any) -> tuple[Any, str, list[str]]:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            made = of(
                **{"dataset": Numbers(), **options}, num_workers=1, multiprocessing_context=method
            )
            with pytest.raises((AttributeError, TypeError, pickle.PicklingError)) as caught:
                iter(made)
        return caught.type, str(caught.value), [str(one.message) for one in warned]

    torchs, ours = (start(of) for of in LOADERS)

    assert ours == torchs


def test_a_loader_in_a_worker_is_refused_as_in_torch() -> None:
    class Nested(Numbers):
        def __getitem__(self, index: int) -> Any:
            return firsts(loader())[0]

    with pytest.raises(AssertionError, match="daemonic processes are not allowed to have children"):
        list(loader(Nested()))


def test_a_loader_without_workers_may_live_in_a_worker() -> None:
    class Nested(Numbers):
        def __getitem__(self, index: int) -> Any:
            assert get_worker_info() is not None
            return sum(firsts(loader(num_workers=0)))

    assert [batch.tolist() for batch in loader(Nested(4))] == [[60.0] * 4]


# -- memory and descriptors


class Wide(Numbers):
    def __getitem__(self, index: int) -> Any:
        return {name: torch.full((2000,), float(index)) for name in range(150)}


def test_a_batch_of_many_tensors_arrives() -> None:
    batches = list(loader(Wide(8)))

    assert [float(batch[149][3, 0]) for batch in batches] == [3, 7]


def test_batches_that_are_hoarded_are_right_and_use_few_descriptors() -> None:
    before = psutil.Process().num_fds()
    batches = iter(loader(Numbers(1000, floats=20_000), batch_size=2))
    kept, most = [], 0
    for batch in batches:
        kept.append(batch)
        most = max(most, psutil.Process().num_fds())

    assert most - before < 30
    assert firsts(kept) == [2.0 * number for number in range(500)]


def test_batches_of_growing_size_reuse_no_memory_that_is_read() -> None:
    class Growing(Numbers):
        def __getitem__(self, index: int) -> Any:
            return torch.full((1000 * (1 + index),), float(index))

    kept = list(loader(Growing(60), batch_size=1))

    assert firsts(kept) == [float(number) for number in range(60)]
    assert all(bool((batch == number).all()) for number, batch in enumerate(kept))


def test_a_collate_function_may_keep_its_batches() -> None:
    kept: list[Any] = []

    def collate(samples: list[Any]) -> Any:
        kept.append(default_collate(samples))
        return [kept[0], kept[-1]]

    got = [(float(one[0, 0]), float(two[0, 0])) for one, two in loader(collate_fn=collate)]

    assert got == [(0, 0), (4, 4), (0, 8), (4, 12), (0, 16), (4, 20)]


# -- the trainer's own end

SCRIPT = """
    import os, resource, signal, sys, time, torch, wellfed
    from torch.utils.data import Dataset

    class Numbers(Dataset):
        def __len__(self):
            return 1000
        def __getitem__(self, index):
            return torch.full((2000,), float(index))

    def loader(**options):
        return wellfed.DataLoader(Numbers(), **{"batch_size": 4, "num_workers": 2, **options})

    def main():
"""


def script(path: Path, main: str) -> list[str]:
    body = textwrap.indent(textwrap.dedent(main), "    ")
    path.write_text(f"{textwrap.dedent(SCRIPT)}{body}\nif __name__ == '__main__':\n    main()\n")
    return [sys.executable, "-W", "always", str(path)]


def ran(path: Path, main: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        script(path, main), capture_output=True, text=True, timeout=120, check=False
    )


ENDS = {
    "sys.exit": "sys.exit(0)",
    "an exception": "sys.excepthook = lambda *_: None; raise ValueError",
    "os._exit": "os._exit(1)",
    "two iterators": "global other; other = iter(loader()); next(other)",
}


@pytest.mark.parametrize(
    ("method", "persistent"),
    [("fork", False), ("fork", True), ("spawn", False), ("forkserver", True)],
)
def test_a_program_ends_without_a_word(tmp_path: Path, method: str, persistent: bool) -> None:
    options = f"multiprocessing_context={method!r}, persistent_workers={persistent}"

    ended = ran(
        tmp_path / "train.py",
        f"""
        global of, batches
        of = loader({options})
        batches = iter(of)
        next(batches)
        print(*batches._workers)
        """,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert not any(psutil.pid_exists(int(pid)) for pid in ended.stdout.split())


@pytest.mark.parametrize("end", ENDS)
def test_any_end_with_an_iterator_alive_is_silent(tmp_path: Path, end: str) -> None:
    ended = ran(
        tmp_path / "train.py",
        f"global batches; batches = iter(loader()); next(batches)\n{ENDS[end]}",
    )

    assert ended.stderr == ""
    assert ended.returncode == (end in ("an exception", "os._exit"))


def test_an_interrupted_program_shows_its_own_traceback_and_nothing_else(tmp_path: Path) -> None:
    trainer = subprocess.Popen(
        script(
            tmp_path / "train.py",
            """
            batches = iter(loader())
            next(batches)
            print(*batches._workers, flush=True)
            for batch in batches:
                time.sleep(0.05)
            """,
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert trainer.stdout is not None
    workers = [int(pid) for pid in trainer.stdout.readline().split()]
    os.killpg(trainer.pid, signal.SIGINT)  # as Ctrl-C does: to all of them
    _, said = trainer.communicate(timeout=60)

    assert trainer.returncode != 0
    assert said.count("Traceback") == 1
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert not any(psutil.pid_exists(pid) for pid in workers)


def test_few_descriptors_are_enough(tmp_path: Path) -> None:
    ended = ran(
        tmp_path / "train.py",
        """
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        for epoch in range(2):
            kept = list(loader())
            assert [int(batch[0, 0]) for batch in kept] == list(range(0, 1000, 4))
        """,
    )

    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_spawned_workers_end_when_the_trainer_is_killed(tmp_path: Path, method: str) -> None:
    trainer = subprocess.Popen(
        script(
            tmp_path / "train.py",
            f"""
            batches = iter(loader(multiprocessing_context={method!r}))
            next(batches)
            print(*batches._workers, flush=True)
            time.sleep(60)
            """,
        ),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert trainer.stdout is not None
    workers = [psutil.Process(int(pid)) for pid in trainer.stdout.readline().split()]
    templates = [one for one in (worker.parent() for worker in workers) if one is not None]
    trainer.kill()
    trainer.communicate(timeout=60)

    _, alive = psutil.wait_procs([*workers, *templates], timeout=20)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
