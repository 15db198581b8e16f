"""Kills for want of memory are counted where the kernel counts them."""

from pathlib import Path

import pytest

from wellfed._engine.oom import oom_kills

EVENTS = "low 0\nhigh 3\nmax 9\noom 2\noom_kill {}\noom_group_kill 0\n"


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


@pytest.mark.parametrize(
    "place", ["sys/fs/cgroup/user/job/memory.events", "sys/fs/cgroup/memory.events"]
)
def test_those_of_the_control_group_count(tmp_path: Path, place: str) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/user/job\n")
    write(tmp_path, place, EVENTS.format(4))
    write(tmp_path, "proc/vmstat", "oom_kill 7\n")

    assert oom_kills(tmp_path) == 4


def test_without_a_control_group_those_of_the_machine_count(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "5:memory:/user\n")
    write(tmp_path, "proc/vmstat", "nr_free_pages 1\noom_kill 7\n")

    assert oom_kills(tmp_path) == 7


def test_where_nothing_is_counted_nothing_is_known(tmp_path: Path) -> None:
    write(tmp_path, "proc/vmstat", "nonsense\n")

    assert oom_kills(tmp_path) == -1
