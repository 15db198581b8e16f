"""What is shown joins each trainer's loaders with what it takes, and remembers who ended."""

import subprocess
import sys
from pathlib import Path

import pytest

from statuses import trainer_status
from wellfed._cli.gathering import Gathering
from wellfed.records import TrainerStatus


class World:
    """Status files and processes, as a test wants them."""

    def __init__(self, *found: TrainerStatus) -> None:
        self.found = list(found)
        self.ended: set[int] = set()

    def gathering(self, pid: int | None = None) -> Gathering:
        return Gathering(
            pid, read=lambda: tuple(self.found), alive=lambda pid, _: pid not in self.ended
        )


def test_loaders_of_a_process_are_one_trainer_the_newest_first() -> None:
    old = trainer_status(pid=7, site="old.py:1", at_unix_s=1.0)
    new = trainer_status(pid=7, site="new.py:1", at_unix_s=2.0)

    (seen,) = World(old, new).gathering().look()

    assert seen.loaders == (new, old)


def test_one_process_can_be_asked_for() -> None:
    seen = World(trainer_status(pid=7), trainer_status(pid=8)).gathering(8).look()

    assert [one.first.pid for one in seen] == [8]


def test_one_that_ends_while_it_is_looked_at_stays_in_sight_below_those_that_run() -> None:
    world = World(trainer_status(pid=7), trainer_status(pid=8))
    gathering = world.gathering()
    gathering.look()
    world.ended.add(7)
    world.found.pop(0)

    seen = gathering.look()

    assert [(one.first.pid, one.lives) for one in seen] == [(8, True), (7, False)]


def test_one_between_two_loaders_is_still_there() -> None:
    world = World(trainer_status(pid=7))
    gathering = world.gathering()
    gathering.look()
    world.found.clear()

    (seen,) = gathering.look()

    assert seen.lives


def test_what_it_takes_is_that_of_the_process() -> None:
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as waiting:
        gathering = World(trainer_status(pid=waiting.pid)).gathering()
        gathering.look()
        (seen,) = gathering.look()
        waiting.communicate(b"\n", timeout=30)

    assert seen.memory_bytes is not None
    assert seen.memory_bytes > 100_000
    assert seen.memory_limit_bytes is not None
    assert seen.busy_cores is not None


@pytest.mark.parametrize("limit", [None, 5_000])
def test_the_loaders_own_limit_comes_before_the_machines(limit: int | None) -> None:
    (seen,) = World(trainer_status(pid=7, memory_limit_bytes=limit)).gathering().look()

    assert (seen.memory_limit_bytes == 5_000) is (limit is not None)


def test_cleaning_removes_what_ended_processes_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tmp_path.chmod(0o700)
    folder = tmp_path / "wellfed"
    folder.mkdir(mode=0o700)
    (folder / "1-999999999-0.status").touch()

    World().gathering().clean()

    assert list(folder.iterdir()) == []
