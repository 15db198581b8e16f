"""A pacer stops a script once enough was seen, or time or steps are up, and stays with it."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from wellfed._attach.pacer import FIRST_LOOK_S, Limits, Pace, Pacer
from wellfed.testing import FakeClock

S = 1_000_000_000


def never() -> bool:
    return False


def pacer_of(limits: Limits, enough: Callable[[], bool] = never) -> tuple[Pacer, FakeClock]:
    clock = FakeClock(77)
    return Pacer(limits, enough, clock), clock


def test_time_counts_from_the_first_batch() -> None:
    pacer, clock = pacer_of(Limits(seconds=10))
    clock.advance(100 * S)

    assert pacer.elapsed_s == 0
    assert pacer.step(0) is Pace.GO_ON
    clock.advance(3 * S)
    assert pacer.elapsed_s == 3


@pytest.mark.parametrize(
    ("limits", "after_s", "batches", "expected"),
    [
        (Limits(seconds=10), 9.9, 1000, Pace.GO_ON),
        (Limits(seconds=10), 10, 1, Pace.STOP),
        (Limits(seconds=10, steps=5), 1, 4, Pace.GO_ON),
        (Limits(seconds=10, steps=5), 1, 5, Pace.STOP),
        (Limits(seconds=10, steps=5), 10, 0, Pace.STOP),
        (Limits(seconds=10, full=True), 1000, 1000, Pace.GO_ON),
        (Limits(seconds=10, steps=5, full=True), 1000, 1000, Pace.GO_ON),
    ],
)
def test_limits_hold(limits: Limits, after_s: float, batches: int, expected: Pace) -> None:
    pacer, clock = pacer_of(limits)
    pacer.step(0)
    clock.advance(round(after_s * S))

    assert pacer.step(batches) is expected


def test_it_stops_as_soon_as_enough_was_seen() -> None:
    pacer, clock = pacer_of(Limits(seconds=60), lambda: True)
    assert pacer.step(0) is Pace.GO_ON
    clock.advance(round(FIRST_LOOK_S * S) - 1)
    assert pacer.step(1000) is Pace.GO_ON
    clock.advance(1)

    assert pacer.step(1001) is Pace.STOP


def test_looks_become_rarer() -> None:
    looks: list[float] = []

    def look() -> bool:
        looks.append(pacer.elapsed_s)
        return False

    pacer, clock = pacer_of(Limits(seconds=600), look)
    for batch in range(50_000):
        assert pacer.step(batch) is Pace.GO_ON
        clock.advance(S // 100)

    gaps = [later / earlier for earlier, later in pairwise(looks)]
    assert looks[0] == pytest.approx(FIRST_LOOK_S, abs=0.02)
    assert len(looks) < 25
    assert min(gaps) >= 1.29


@pytest.mark.parametrize("limits", [Limits(steps=3), Limits(full=True)])
def test_evidence_is_not_asked_for_where_it_decides_nothing(limits: Limits) -> None:
    def asked() -> bool:
        raise AssertionError("asked for nothing")

    pacer, clock = pacer_of(limits, asked)
    pacer.step(0)
    clock.advance(30 * S)

    assert pacer.step(2) is Pace.GO_ON


def test_once_stopped_it_stays_so() -> None:
    pacer, clock = pacer_of(Limits(steps=3))
    pacer.step(3)
    clock.advance(S)

    # The script swallowed the stop and began a new epoch with another loader.
    assert pacer.step(0) is Pace.STOP
