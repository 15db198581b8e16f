"""How many workers a crowded machine has room for."""

from pathlib import Path

import pytest
from planting import plant

from wellfed._probes.counters import PAGE_BYTES
from wellfed._probes.crowding import crowding

WORKER_PAGES = 1_000_000 // PAGE_BYTES


def machine(available_kb: int) -> dict[str, str]:
    pages = f"{9 * WORKER_PAGES} {2 * WORKER_PAGES} {WORKER_PAGES} 0 0 0 0"
    return {
        "/proc/meminfo": f"MemTotal:  8000 kB\nMemAvailable:  {available_kb} kB\n",
        "/proc/11/statm": pages,
        "/proc/12/statm": pages,
    }


@pytest.mark.parametrize(("available_kb", "workers"), [(4000, 2 + 2), (400, 2), (200, 2 - 1)])
def test_half_of_what_is_left_is_for_workers_as_large_as_those_there(
    tmp_path: Path, available_kb: int, workers: int
) -> None:
    plant(tmp_path, machine(available_kb))

    assert crowding(tmp_path)([11, 12]).room_workers == workers


def test_what_cannot_be_read_is_not_known(tmp_path: Path) -> None:
    assert crowding(tmp_path)([11]) == (None, None, None)


def test_workers_that_are_gone_say_nothing_of_room(tmp_path: Path) -> None:
    plant(tmp_path, machine(4000))

    assert crowding(tmp_path)([99]).room_workers is None
