"""A trainer and its workers are seen from another process, as far as /proc shows them."""

from pathlib import Path

import pytest
from planting import plant, process_stat

from wellfed._probes.counters import PAGE_BYTES, TICKS_PER_S
from wellfed._probes.onlooker import MEMORY_S, Footprint, Onlooker

TRAINER, WORKER, VIEWER = 100, 101, 102


def cpu(root: Path, trainer_ticks: int, worker_ticks: int) -> Path:
    return plant(
        root,
        {
            f"/proc/{TRAINER}/stat": process_stat(TRAINER, 1, trainer_ticks),
            f"/proc/{WORKER}/stat": process_stat(WORKER, TRAINER, worker_ticks),
            f"/proc/{VIEWER}/stat": process_stat(VIEWER, TRAINER, 50 * worker_ticks),
            f"/proc/{WORKER}/smaps_rollup": "head\nPss: 9 kB\nPrivate_Dirty: 4 kB\n",
            f"/proc/{TRAINER}/fd/0": "",
        },
    )


def test_cores_are_those_of_trainer_and_workers_since_the_last_look(tmp_path: Path) -> None:
    now = iter([0.0, 2.0])
    onlooker = Onlooker(TRAINER, VIEWER, root=cpu(tmp_path, 0, 0), clock=lambda: next(now))

    assert onlooker.look().busy_cores is None
    cpu(tmp_path, TICKS_PER_S, 2 * TICKS_PER_S)

    assert onlooker.look().busy_cores == pytest.approx(1.5)


def test_memory_is_what_the_trainer_holds_and_its_workers_for_themselves(tmp_path: Path) -> None:
    onlooker = Onlooker(TRAINER, VIEWER, root=cpu(tmp_path, 0, 0))

    assert onlooker.look().memory_bytes == 3 * PAGE_BYTES + 4096


def test_the_workers_memory_is_asked_for_less_often(tmp_path: Path) -> None:
    now = iter([0.0, MEMORY_S / 2, MEMORY_S])
    onlooker = Onlooker(TRAINER, VIEWER, root=cpu(tmp_path, 0, 0), clock=lambda: next(now))
    first = onlooker.look().memory_bytes
    plant(tmp_path, {f"/proc/{WORKER}/smaps_rollup": "head\nPss: 9 kB\nPrivate_Dirty: 8 kB\n"})
    second = onlooker.look().memory_bytes
    third = onlooker.look().memory_bytes

    assert first is not None
    assert (second, third) == (first, first + 4096)


def test_of_a_trainer_that_has_ended_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()

    assert Onlooker(TRAINER, VIEWER, root=tmp_path).look() == Footprint()
