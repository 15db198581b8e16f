"""Every way out of a loader, and that nothing stays behind."""

import errno
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from fault_jobs import Numbers, begun, firsts, gone, template_of
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import Sampler, default_collate, get_worker_info

import wellfed
from wellfed._engine import memory
from wellfed._engine.crew import Crew
from wellfed.errors import SharedMemoryFull

LOADERS: list[Any] = [TorchDataLoader, wellfed.DataLoader]


def loader(dataset: Any = None, **options: Any) -> Any:
    given = {"batch_size": 4, "num_workers": 2, **options}
    return wellfed.DataLoader(Numbers(24, 2000) if dataset is None else dataset, **given)


# -- the loop ends, or is left


@pytest.mark.parametrize("persistent", [False, True])
def test_a_loop_that_is_left_takes_its_workers_along(persistent: bool) -> None:
    for _ in loader(persistent_workers=persistent):
        break


def test_an_exception_in_the_loop_leaves_nothing() -> None:
    def train() -> None:
        for _ in loader():
            raise ValueError("of the step")

    with pytest.raises(ValueError, match="of the step"):
        train()


def test_a_generator_that_is_closed_takes_its_workers_along() -> None:
    def doubled() -> Generator[Any]:
        for batch in loader():
            yield 2 * batch

    batches = doubled()
    assert float(next(batches)[1, 0]) == 2
    batches.close()


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_while_workers_are_ended_leaves_none(
    times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = begun(Numbers())
    pids = [template_of(batches), *batches._workers]
    hang_up = Crew._hang_up

    def interrupted(crew: Crew) -> None:
        hang_up(crew)
        for _ in range(times):
            ctrl_c()

    monkeypatch.setattr(Crew, "_hang_up", interrupted)
    with pytest.raises(KeyboardInterrupt):
        batches._shutdown_workers()

    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_handler_of_the_users_for_ended_children_stays() -> None:
    heard: list[int] = []

    def hear(number: int, frame: Any) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGCHLD, hear)
    try:
        assert firsts(loader()) == [0, 4, 8, 12, 16, 20]
        assert signal.getsignal(signal.SIGCHLD) is hear
    finally:
        signal.signal(signal.SIGCHLD, before)


def iterate_as_daemon(queue: Any) -> None:
    try:
        list(loader())
    except AssertionError as error:
        queue.put(str(error))


def test_a_loader_in_a_daemon_is_refused_as_in_torch() -> None:
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    daemon = context.Process(target=iterate_as_daemon, args=(queue,), daemon=True)
    daemon.start()

    assert queue.get() == "daemonic processes are not allowed to have children"
    daemon.join(60)
    queue.close()


def test_a_dropped_iterator_is_gone_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        batches = iter(loader(num_workers=1))
        next(batches)
        (pid,) = batches._workers
        del batches
        assert not psutil.pid_exists(pid)
    finally:
        gc.enable()


def test_two_iterators_of_one_loader_live_side_by_side() -> None:
    of = loader(Numbers(8), batch_size=2)

    pairs = list(zip(of, of, strict=True))

    assert firsts(one for one, _ in pairs) == firsts(other for _, other in pairs) == [0, 2, 4, 6]


def test_another_thread_may_iterate() -> None:
    got: list[float] = []
    of = loader(Numbers(8), batch_size=2)
    thread = threading.Thread(target=lambda: got.extend(firsts(of)))
    thread.start()
    thread.join(60)

    assert got == [0, 2, 4, 6]


@pytest.mark.parametrize("sockets_first", [False, True])
def test_an_iterator_in_a_cycle_is_collected_without_a_word(sockets_first: bool) -> None:
    batches = begun(Numbers())
    pids = [template_of(batches), *batches._workers]
    cycle: list[Any] = [batches]
    cycle.append(cycle)
    if sockets_first:  # the garbage collector keeps to no order
        for member in batches._stream._crew._members.values():
            member.socket.__del__()
    del batches, cycle
    gc.collect()

    assert gone(pids)


class Refusing(Sampler[int]):
    """Raises after so many indices."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __iter__(self) -> Iterator[int]:
        yield from range(self.after)
        raise LookupError("no more of this")


def test_a_sampler_that_raises_at_the_start_leaves_nothing() -> None:
    of = loader(sampler=Refusing(5))

    with pytest.raises(LookupError, match="no more of this"):
        iter(of)


def test_indices_that_cannot_be_pickled_leave_nothing() -> None:
    odd: Any = [[lambda: 3], [4]]
    of = wellfed.DataLoader(Numbers(), num_workers=2, batch_sampler=odd)

    with pytest.raises(Exception, match="pickle"):
        iter(of)


def test_persistent_workers_serve_one_epoch_after_the_other() -> None:
    of = loader(Numbers(), persistent_workers=True)

    iterators: list[Any] = []
    pids = []
    for _ in range(3):
        iterators.append(iter(of))
        pids.append(iterators[-1]._workers)
        assert len(list(iterators[-1])) == 25

    assert iterators[0] is iterators[1] is iterators[2]
    assert pids[0] == pids[1] == pids[2]


def test_a_child_forked_in_mid_epoch_is_harmless() -> None:
    batches = iter(loader())
    first = next(batches)
    child = os.fork()
    if child == 0:
        del batches
        os._exit(0 if float(first.sum()) == 2000 * 6 else 1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert firsts(batches) == [4, 8, 12, 16, 20]


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


def test_hoarded_batches_keep_no_more_shared_memory_than_is_allowed() -> None:
    """They are copied out of it beyond a bound, and are right all the same."""
    iterator = begun(Numbers(length=1_200, floats=64 << 10))

    kept = []
    shared = []
    for batch in iterator:
        kept.append(batch)
        crew = iterator._stream._crew
        shared.append(sum(crew.shelves.of(number).bytes for number in range(len(crew))))

    assert [float(batch[0, 0]) for batch in kept] == [4.0 * number for number in range(300)]
    assert max(shared) <= 128 << 20
    assert sum(batch.nbytes for batch in kept) > 2 * max(shared)


@pytest.mark.parametrize("missing", [["_anonymous"], ["_anonymous", "_in_shm"]])
def test_without_anonymous_memory_files_carry_the_batches(
    missing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> int:
        raise OSError("refused")

    for place in missing:
        monkeypatch.setattr(memory, place, refuse)

    assert firsts(loader()) == [0, 4, 8, 12, 16, 20]


def test_memory_that_runs_out_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither anonymous memory, nor /dev/shm, nor room on the disk for what a batch needs."""
    allocated = memory._allocated

    def full(descriptor: int, nbytes: int) -> int:
        if nbytes <= 64 << 10:
            return allocated(descriptor, nbytes)
        os.close(descriptor)
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(memory, "_allocated", full)
    batches = begun(Numbers(floats=50_000))

    with pytest.raises(SharedMemoryFull, match=r"no room for .* Use smaller batches"):
        next(batches)


def test_a_long_list_of_indices_reaches_the_worker() -> None:
    batches = [list(range(20_000)), list(range(20_000, 40_000))]
    of = wellfed.DataLoader(Places(40_000), batch_sampler=batches, num_workers=1)

    assert [int(batch.sum()) for batch in of] == [sum(indices) for indices in batches]


class Places(Numbers):
    def __getitem__(self, index: int) -> Any:
        return index


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

    assert trainer.returncode != 0, said
    assert said.count("Traceback") == 1
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert not any(psutil.pid_exists(pid) for pid in workers)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_end_when_the_trainer_is_killed(tmp_path: Path, method: str) -> None:
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
