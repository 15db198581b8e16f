"""How many workers a window's memory leaves room for."""

import pytest

from wellfed._tuner.window import Bounds, Window, allowed_workers


@pytest.mark.parametrize(
    ("room", "most", "allowed"),
    [(None, 8, 8), (3, 8, 3), (12, 8, 8), (0, 8, 1), (None, 0, 1)],
)
def test_memory_and_bounds_limit_the_workers_but_never_to_none(
    room: int | None, most: int, allowed: int
) -> None:
    window = Window(batches=10, seconds=1.0, wait_s=0.5, gap_s=0.05, room_workers=room)

    assert allowed_workers(Bounds(cpus=4, most_workers=most), window) == allowed
