"""A run is judged only if the machine was about its own."""

import pytest
from planted.quiet import Clocks, busy_s, cores_of_others, is_disturbed


def test_what_descendants_used_is_no_disturbance() -> None:
    before = Clocks(wall_s=100.0, machine_s=1_000.0, own_s=10.0)
    after = Clocks(wall_s=110.0, machine_s=1_018.0, own_s=27.0)

    assert cores_of_others(before, after) == pytest.approx(0.1)


def test_clocks_that_tick_apart_give_no_negative_share() -> None:
    before = Clocks(wall_s=0.0, machine_s=0.0, own_s=0.0)

    assert cores_of_others(before, Clocks(wall_s=10.0, machine_s=9.9, own_s=10.0)) == 0


def test_a_tenth_of_the_cores_is_let_pass() -> None:
    assert not is_disturbed(0.2, cores=2)
    assert is_disturbed(0.21, cores=2)
    assert not is_disturbed(0.21, cores=4)


def test_idle_and_waiting_for_a_disk_are_not_busy() -> None:
    assert busy_s("cpu  100 0 50 9999 777 3 2 5 0 0\ncpu0 ...") == pytest.approx(1.6)
