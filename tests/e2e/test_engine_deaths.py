"""Whoever dies, and whenever: the epoch is the one that it would have been."""

import itertools
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fault_jobs import (
    Drawing,
    Dying,
    Numbers,
    Once,
    ask_to_leave,
    begun,
    crash,
    gone,
    kill,
    leave,
    leave_in_peace,
    same,
)
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import default_collate

import wellfed
from wellfed._engine import wire
from wellfed._engine.board import Page
from wellfed._engine.handover import Handover
from wellfed._engine.slabs import Slabs
from wellfed.records import Plan

WAYS = [kill, crash, leave, ask_to_leave, leave_in_peace]

THREADS = Plan(backend="processes", workers=2, prefetch=2, threads=8)


@pytest.fixture
def once(tmp_path: Path) -> Callable[..., Once]:
    """Makes what is done once, or so many times."""

    def make(what: Callable[[], None] = kill, times: int = 1) -> Once:
        return Once(what, str(tmp_path / "done"), times)

    return make


def epochs(dataset: Any, count: int = 1, **options: Any) -> list[Any]:
    """The batches of some epochs of one loader, begun with the same seed."""
    torch.manual_seed(3)
    loader = wellfed.DataLoader(dataset, **{"batch_size": 4, "num_workers": 2, **options})
    iterator: Any = None
    batches: list[Any] = []
    for _ in range(count):
        iterator = iter(loader)
        batches += iterator
    iterator._shutdown_workers()
    assert iterator.backend == "processes"
    return batches


def undisturbed(dataset: Any, **options: Any) -> list[Any]:
    """The same batches from torch, for a dataset that does not draw."""
    return list(TorchDataLoader(dataset, **{"batch_size": 4, **options}))


# -- at each step of a worker's loop


@pytest.mark.parametrize(
    ("how", "at", "workers"),
    [*((how, 21, 2) for how in WAYS), *((kill, at, 1) for at in (0, 2, 21, 99)), (kill, 0, 2)],
)
def test_a_worker_may_die_at_any_sample(
    how: Callable[[], None], at: int, workers: int, once: Callable[..., Once]
) -> None:
    dying = Dying(how=once(how), at=at)

    assert same(epochs(dying, num_workers=workers), undisturbed(Numbers()))


STEPS: dict[str, tuple[Any, str]] = {
    "it reads a task": (wire, "read_task"),
    "it notes a task": (Page, "hold"),
    "it writes to a slab": (Slabs, "place"),
    "it hands a batch over": (Handover, "send"),
    "it sends a record": (wire, "send_record"),
    "it lets go of a task": (Page, "let_go"),
}


def dies(step: Callable[..., Any], death: Callable[[], None], *, call: int, after: bool) -> Any:
    """The same step, which ends a worker at one of its calls."""
    trainer, calls = os.getpid(), iter(range(1, 1_000_000))

    def then_die(*args: Any, **kwargs: Any) -> Any:
        now = os.getpid() != trainer and next(calls) == call
        if now and not after:
            death()
        value = step(*args, **kwargs)
        if now and after:
            death()
        return value

    return then_die


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", [1, 7])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("options", [{}, {"plan": THREADS, "thread_safe": True}])
def test_a_worker_may_die_at_any_step(
    step: str,
    call: int,
    after: bool,
    options: dict[str, Any],
    once: Callable[..., Once],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home, name = STEPS[step]
    death = once()
    monkeypatch.setattr(home, name, dies(getattr(home, name), death, call=call, after=after))

    got = epochs(Numbers(floats=2000), **options)

    assert same(got, undisturbed(Numbers(floats=2000)))
    assert Path(f"{death.mark}.0").exists()


class DyingCollate:
    """Ends its process at one batch."""

    def __init__(self, how: Callable[[], None], at: float) -> None:
        self.how = how
        self.at = at

    def __call__(self, samples: list[Any]) -> Any:
        if samples[0][0] == self.at:
            self.how()
        return default_collate(samples)


@pytest.mark.parametrize("at", [0.0, 40.0])
def test_a_worker_may_die_in_the_collate_function(at: float, once: Callable[..., Once]) -> None:
    assert same(epochs(Numbers(), collate_fn=DyingCollate(once(), at)), undisturbed(Numbers()))


class DyingIndex(int):
    """Ends the process in which it is unpickled."""

    how: Callable[[], None]

    def __reduce__(self) -> Any:
        return _unpickled, (int(self), self.how)


def _unpickled(index: int, how: Callable[[], None]) -> int:
    how()
    return index


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_may_die_while_it_reads_a_task(workers: int, once: Callable[..., Once]) -> None:
    odd = DyingIndex(40)
    odd.how = once()
    batches = [[odd] if number == 40 else [number] for number in range(100)]

    got = epochs(Numbers(), batch_sampler=batches, batch_size=1, num_workers=workers)

    assert same(got, undisturbed(Numbers(), batch_size=1))


# -- whatever is loaded, and however


def nothing() -> None:
    """A way to go on living."""


def default_collate_too(samples: list[Any]) -> Any:
    """One that is not known, so that the first batch is not made in parts."""
    return default_collate(samples)


@pytest.mark.parametrize(
    "options",
    [
        {"plan": THREADS, "thread_safe": True},
        {"plan": Plan(backend="processes", workers=1, prefetch=2, threads=8), "thread_safe": True},
        {"multiprocessing_context": "spawn"},
        {"multiprocessing_context": "forkserver"},
        {"batch_size": None},
        {"num_workers": 5, "plan": Plan(backend="processes", workers=2, prefetch=3)},
        {"prefetch_factor": 1},
        {"timeout": 60},
    ],
    ids=str,
)
def test_a_worker_may_die_under_any_plan(
    options: dict[str, Any], once: Callable[..., Once]
) -> None:
    batched = {name: options[name] for name in ("batch_size",) if name in options}

    assert same(epochs(Dying(how=once(), at=60), **options), undisturbed(Numbers(), **batched))


DRAWING: list[dict[str, Any]] = [
    {},
    {"num_workers": 1},
    {"num_workers": 3, "prefetch_factor": 1},
    {"batch_size": None},
    {"collate_fn": default_collate_too},
    {"num_workers": 5, "plan": Plan(backend="processes", workers=2, prefetch=3)},
    {"multiprocessing_context": "spawn"},
    {"plan": THREADS, "thread_safe": True},
]


@pytest.mark.parametrize("options", DRAWING, ids=str)
@pytest.mark.parametrize("at", [1, 60])
def test_random_streams_go_on_where_they_stood(
    at: int, options: dict[str, Any], once: Callable[..., Once]
) -> None:
    undisturbed = epochs(Drawing(how=nothing), **options)

    assert same(epochs(Drawing(how=once(), at=at), **options), undisturbed)


@pytest.mark.parametrize("left_after", [1, 100])
def test_random_streams_of_persistent_workers_go_on(
    left_after: int, once: Callable[..., Once]
) -> None:
    """Also where an epoch is left, and its last batches are made for nobody."""

    def batches_of(how: Callable[[], None]) -> list[Any]:
        torch.manual_seed(3)
        loader = wellfed.DataLoader(
            Drawing(how=how, at=9), batch_size=4, num_workers=2, persistent_workers=True
        )
        batches = list(itertools.islice(loader, left_after))
        batches += [*loader, *loader]
        loader._iterator._shutdown_workers()  # type: ignore[union-attr]
        return batches

    assert same(batches_of(once()), batches_of(nothing))


@pytest.mark.parametrize("at", [1, 60])
def test_draws_by_position_are_drawn_again(at: int, once: Callable[..., Once]) -> None:
    of_auto: dict[str, Any] = {
        "num_workers": "auto",
        "plan": Plan(backend="processes", workers=2, prefetch=2),
    }
    undisturbed = epochs(Drawing(how=nothing), **of_auto)

    assert same(epochs(Drawing(how=once(), at=at), **of_auto), undisturbed)


def test_whoever_times_samples_may_die(once: Callable[..., Once]) -> None:
    """Before `num_workers="auto"` has chosen how batches are made."""
    torch.manual_seed(3)
    loader = wellfed.DataLoader(
        Dying(how=once(), at=1), batch_size=4, num_workers="auto", timeout=60
    )

    assert same(loader, undisturbed(Numbers()))


def test_batches_that_come_in_any_order_all_come(once: Callable[..., Once]) -> None:
    got = epochs(Dying(how=once()), in_order=False)

    assert sorted(float(batch[0, 0]) for batch in got) == [4.0 * number for number in range(25)]


def test_persistent_workers_may_die_in_any_epoch(once: Callable[..., Once]) -> None:
    death = once()
    torch.manual_seed(3)
    loader = wellfed.DataLoader(
        Dying(how=death, at=50), batch_size=4, num_workers=2, persistent_workers=True
    )
    batches: list[Any] = []
    for _ in range(4):
        batches += loader
        Path(f"{death.mark}.0").unlink()  # and again in the next epoch

    assert same(batches, 4 * undisturbed(Numbers()))
    loader._iterator._shutdown_workers()  # type: ignore[union-attr]


# -- from outside


def kill_all(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert gone(pids)


def after_deaths(batches: Any, deaths: dict[int, Callable[[Any], list[int]]]) -> list[Any]:
    """All batches; after each of these numbers of them some processes are killed."""
    got: list[Any] = []
    kill_all(deaths.get(0, lambda _: [])(batches))
    for batch in batches:
        got.append(batch)
        kill_all(deaths.get(len(got), lambda _: [])(batches))
    return got


def one_of(batches: Any) -> list[int]:
    return list(batches._workers[:1])


def all_of(batches: Any) -> list[int]:
    return list(batches._workers)


@pytest.mark.parametrize("who", [one_of, all_of])
@pytest.mark.parametrize("when", [0, 1, 50, 99, 100])
def test_workers_may_be_killed_between_two_batches(
    who: Callable[[Any], list[int]], when: int
) -> None:
    got = after_deaths(begun(Numbers(400)), {when: who})

    assert same(got, undisturbed(Numbers(400)))


def test_workers_may_be_killed_again_and_again() -> None:
    got = after_deaths(begun(Numbers(400)), dict.fromkeys(range(0, 100, 20), all_of))

    assert same(got, undisturbed(Numbers(400)))


def test_a_batch_that_is_kept_is_whole_when_its_worker_is_dead() -> None:
    """Also those that came and were not unpacked yet."""
    batches = begun(Numbers(400, floats=20_000), prefetch_factor=8)
    kept = [next(batches) for _ in range(10)]
    while batches.ready() < 8:
        pass
    kill_all(batches._workers)
    kept += batches

    assert same(kept, undisturbed(Numbers(400, floats=20_000)))


def test_the_memory_of_the_dead_is_given_back() -> None:
    batches = begun(Numbers(2000, floats=20_000))
    mapped = []
    for number, _ in enumerate(batches):
        if number % 50 == 10:
            mapped.append(slab_bytes())
            kill_all(batches._workers)

    assert len(mapped) == 10
    assert max(mapped) <= 3 * mapped[0]


def slab_bytes() -> int:
    """What this process has mapped of slabs."""
    found = 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "wellfed" in line:
            begin, end = line.split()[0].split("-")
            found += int(end, 16) - int(begin, 16)
    return found


@pytest.mark.parametrize("when", [1, 100])
def test_persistent_workers_may_be_killed_between_two_epochs(when: int) -> None:
    loader = wellfed.DataLoader(Numbers(400), batch_size=4, num_workers=2, persistent_workers=True)
    batches: Any = iter(loader)
    got = list(itertools.islice(batches, when))
    kill_all(batches._workers)
    got += loader

    assert same(got[when:], undisturbed(Numbers(400)))
    batches._shutdown_workers()


def test_workers_may_be_dead_when_they_are_to_end() -> None:
    batches = begun(Numbers(400))
    next(batches)
    kill_all(batches._workers)

    batches._shutdown_workers()


def test_workers_may_die_under_a_loop_in_another_thread(once: Callable[..., Once]) -> None:
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.extend(epochs(Dying(how=once()))))
    thread.start()
    thread.join(60)

    assert same(got, undisturbed(Numbers()))


def test_a_handler_of_the_users_for_ended_children_is_not_in_the_way(
    once: Callable[..., Once],
) -> None:
    before = signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        assert same(epochs(Dying(how=once())), undisturbed(Numbers()))
    finally:
        signal.signal(signal.SIGCHLD, before)


# -- what is said


def test_a_death_that_is_survived_is_told_once(
    once: Callable[..., Once], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "wellfed"):
        epochs(Dying(how=once()))

    (said,) = caplog.messages
    assert "was killed by signal: Killed" in said
    assert "makes batch 5 of samples [20, 21, 22, 23] again" in said


def test_a_death_that_is_survived_is_in_the_report(once: Callable[..., Once]) -> None:
    loader: Any = wellfed.DataLoader(Dying(how=once()), batch_size=4, num_workers=2)
    for _ in loader:
        pass

    report = loader.report()
    (said,) = report.trace.deaths
    assert "was killed by signal: Killed. Another takes its place" in said
    assert "Another takes its place" in " ".join(wellfed.render(report).split())


@pytest.fixture(autouse=True)
def _no_dumps_of_torchs_handler(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    capfd.readouterr()
