"""What the machine did during a trial is put beside it, and each resource says one thing."""

import pytest

from wellfed._tuner.resources import during, mean_of, says
from wellfed.records import Gauge

SECOND = 10**9


def gauge(name: str, *samples: tuple[float, float]) -> Gauge:
    return Gauge(
        name=name,
        how="made up",
        at_ns=tuple(round(at_s * SECOND) for at_s, _ in samples),
        values=tuple(value for _, value in samples),
    )


def test_only_samples_within_the_stretch_count() -> None:
    busy = gauge("own_busy_cores", (0.5, 9.0), (1.5, 1.0), (2.0, 3.0), (2.5, 9.0))

    assert during([busy], SECOND, 2 * SECOND) == {"own_busy_cores": 2.0}


def test_a_gauge_that_is_read_seldom_speaks_with_its_next_sample() -> None:
    swap = gauge("swap_in_bytes_per_s", (0.9, 7.0), (2.4, 5.0), (3.4, 9.0))
    late = gauge("page_cache_bytes", (9.0, 7.0))

    assert during([swap, late], SECOND, 2 * SECOND) == {"swap_in_bytes_per_s": 5.0}


def test_stretches_are_averaged_gauge_by_gauge() -> None:
    assert mean_of([{"a": 1.0, "b": 5.0}, {"a": 3.0}]) == {"a": 2.0, "b": 5.0}


@pytest.mark.parametrize(
    ("gauges", "cores", "clause"),
    [
        ({"own_busy_cores": 1.95}, 2.0, "both cores full"),
        ({"own_busy_cores": 12.0, "neighbour_busy_cores": 3.8}, 16.0, "all 16 cores full"),
        ({"own_busy_cores": 1.02}, 4.0, "one core full, the rest free"),
        ({"own_busy_cores": 0.5}, 2.0, "CPU 25 % busy"),
        ({"run_queue": 6.0}, 2.0, "6.0 tasks for 2 cores"),
        ({"throttled_periods_share": 0.4}, 2.0, "CPU quota used up in 40 %"),
        ({"disk_read_bytes_per_s": 10.0}, 2.0, "disk idle"),
        ({"disk_read_bytes_per_s": 5e7, "disk_busy_share": 0.2}, 2.0, "disk 50 MB/s"),
        ({"disk_read_bytes_per_s": 5e7, "disk_busy_share": 0.99}, 2.0, "disk full at 50 MB/s"),
        ({"swap_in_bytes_per_s": 2e6}, 2.0, "swapping 2.0 MB/s"),
        ({"psi_memory_some_share": 0.2}, 2.0, "waits for memory 20 %"),
        ({"gpu_busy_share_0": 0.99}, 2.0, "GPU full"),
    ],
)
def test_each_resource_says_one_thing(gauges: dict[str, float], cores: float, clause: str) -> None:
    assert clause in says(gauges, cores)


def test_what_is_short_comes_first() -> None:
    seen = {"own_busy_cores": 0.2, "disk_read_bytes_per_s": 5e7, "disk_busy_share": 1.0}

    assert says(seen, 2.0) == ("disk full at 50 MB/s", "CPU 10 % busy")


def test_what_was_not_read_says_nothing() -> None:
    assert says({}, 2.0) == ()
