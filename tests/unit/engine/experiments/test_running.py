"""Runs go down and up, on batches of the right kind, and end when told."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from wellfed._engine.experiments.course import Beats, Course, OutOfTime
from wellfed._engine.experiments.replay import HandedOver, Replay
from wellfed._engine.experiments.running import climb, in_turn, said_by
from wellfed._engine.experiments.twin import index_batches
from wellfed._engine.reading import read_plan

LATER_NS = 60 * 10**9


class Files(Dataset[Tensor]):
    """A file a sample; remembers which were read."""

    def __init__(self, folder: Path, length: int = 64) -> None:
        self.folder = folder
        self.read: list[int] = []
        for index in range(length):
            (folder / str(index)).write_bytes(bytes([index]))
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        self.read.append(index)
        return torch.tensor(list((self.folder / str(index)).read_bytes()))


def course(loader: Any, *, until_ns: int | None = None, step: Any = None) -> Course:
    until_ns = time.perf_counter_ns() + LATER_NS if until_ns is None else until_ns
    return Course(
        loader,
        read_plan(loader),
        index_batches(loader),
        step or Replay(()),
        until_ns=until_ns,
    )


RUNGS = ("as_is", "warm", "memoised", "cached")


def test_every_rung_is_run_down_and_up(tmp_path: Path) -> None:
    one = course(DataLoader(Files(tmp_path), batch_size=2))

    climbed = climb(one, RUNGS, 3, enough=lambda _: True, forget=None)

    assert list(climbed.beats) == list(RUNGS)
    assert {len(beats.periods_s) for beats in climbed.beats.values()} == {6}


def test_as_is_reads_what_nobody_read_and_warm_the_same_again(tmp_path: Path) -> None:
    dataset = Files(tmp_path)
    one = course(DataLoader(dataset, batch_size=1))

    climbed = climb(one, ("as_is", "warm"), 3, enough=lambda _: True, forget=None)

    # A batch in flight without workers, then three: first as is, then warm; and from the end back.
    assert dataset.read == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 5, 6, 7, 8]
    assert climbed.unread == 10


def test_where_storage_was_read_the_same_files_are_forgotten_before_each(tmp_path: Path) -> None:
    dataset = Files(tmp_path)
    forgotten: list[Sequence[str]] = []

    def forget(files: Sequence[str]) -> tuple[float, float]:
        forgotten.append(files)
        return 1.0, 0.0

    one = course(DataLoader(dataset, batch_size=1))

    climbed = climb(one, ("as_is", "warm"), 3, enough=lambda _: True, forget=forget)

    assert len(forgotten) == 2
    assert set(climbed.files) == set(forgotten[0]) >= {str(tmp_path / str(n)) for n in range(5)}
    assert max(dataset.read) <= 6


def test_files_that_stay_cached_are_told_and_prove_nothing(tmp_path: Path) -> None:
    one = course(DataLoader(Files(tmp_path), batch_size=1))

    climbed = climb(one, RUNGS, 3, enough=lambda _: True, forget=lambda _: (1.0, 0.9))

    assert climbed.failed == {"warm": "the page cache kept 90% of the files"}
    assert list(climbed.beats) == ["as_is", "memoised", "cached"]


def test_a_rung_that_raises_is_left_out_and_the_others_go_on() -> None:
    collated: set[int] = set()

    def collate(samples: list[Any]) -> list[Any]:
        if id(samples[0]) in collated:
            raise ValueError("seen before")
        collated.add(id(samples[0]))
        return samples

    class Fresh(Dataset[Any]):
        kept: list[Any] = []  # noqa: RUF012 - so that no id is given twice

        def __len__(self) -> int:
            return 64

        def __getitem__(self, index: int) -> Any:
            self.kept.append(object())
            return self.kept[-1]

    one = course(DataLoader(Fresh(), batch_size=1, collate_fn=collate))

    climbed = climb(one, RUNGS, 12, enough=lambda _: True, forget=None)

    assert climbed.failed == {"memoised": "ValueError: seen before"}
    assert list(climbed.beats) == ["as_is", "warm", "cached"]


def test_a_loader_that_does_not_run_as_is_raises() -> None:
    class Broken(Files):
        def __init__(self) -> None:
            self.length = 8

        def __getitem__(self, index: int) -> Tensor:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        climb(course(DataLoader(Broken())), RUNGS, 3, enough=lambda _: True, forget=None)


def test_it_ends_when_the_time_is_over(tmp_path: Path) -> None:
    one = course(DataLoader(Files(tmp_path)), until_ns=time.perf_counter_ns() - 1)

    climbed = climb(one, RUNGS, 3, enough=lambda _: False, forget=None)

    assert climbed.beats == {}


def beats(name: str, order: list[str]) -> Beats:
    order.append(name)
    return Beats((1.0,), (1.0,))


def test_two_ways_take_turns_until_it_is_decided() -> None:
    order: list[str] = []

    in_turn(
        lambda: beats("a", order),
        lambda: beats("b", order),
        lambda one, _: len(one.periods_s) == 4,
    )

    assert "".join(order) == "abbaabba"


def test_two_ways_that_had_no_time_are_told() -> None:
    def over() -> Beats:
        raise OutOfTime

    with pytest.raises(OutOfTime):
        in_turn(lambda: Beats((1.0,), (1.0,)), over, lambda one, other: True)


def test_an_error_of_a_worker_is_told_by_its_own_last_line() -> None:
    passed = ValueError("Caught ValueError in DataLoader worker process 0.\nTraceback\nOSError: no")

    assert said_by(passed) == "OSError: no"
    assert said_by(ValueError("no")) == "ValueError: no"
    assert said_by(ValueError()) == "ValueError"


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("forgets", [True, False])
def test_the_users_step_sees_only_whole_batches(
    tmp_path: Path, workers: int, forgets: bool
) -> None:
    sizes: list[Any] = []
    loader = DataLoader(Files(tmp_path), batch_size=2, num_workers=workers)
    one = course(loader, step=HandedOver(lambda batch: sizes.append(tuple(batch.shape))))
    rungs = ("as_is", "warm", "memoised", "collated", "tiny", "cached")

    climbed = climb(
        one, rungs, 2, enough=lambda _: True, forget=(lambda _: None) if forgets else None
    )
    one.close()

    assert list(climbed.beats) == list(rungs)
    assert set(sizes) == {(2, 1)}


def test_a_step_that_is_handed_over_has_batches_when_none_comes() -> None:
    seen: list[Any] = []
    step = HandedOver(seen.append)
    for batch in (1, 2, None, None, None):
        step(batch)

    assert seen[:2] == [1, 2]
    assert set(seen[2:]) == {1, 2}
