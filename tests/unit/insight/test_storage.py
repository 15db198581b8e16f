import pytest
from insight_traces import case_of, trace_of

from wellfed._insight.storage import read_at_once, storage_curve
from wellfed.records import Plan


def store(readers: float, alone_s: float = 0.1, ceiling: float = 40.0) -> tuple[float, float]:
    """Readers and blocked seconds at a store with that much to give."""
    return readers, max(alone_s, readers / ceiling)


def test_a_store_below_its_limit_shows_none() -> None:
    curve = storage_curve([store(1), store(2), store(3.9)])

    assert curve is not None
    assert curve.alone_s == pytest.approx(0.1)
    assert curve.least_period_s == 0
    assert curve.stretch(100) == 1.0


def test_the_knee_is_found_from_either_side() -> None:
    curve = storage_curve([store(1), store(8)])

    assert curve is not None
    assert curve.least_period_s == pytest.approx(1 / 40)
    assert [curve.stretch(readers) for readers in (0, 2, 4, 8)] == [1, 1, 1, pytest.approx(2)]


def test_nothing_seen_is_no_curve() -> None:
    assert storage_curve([]) is None


def test_readers_at_once_are_blocked_time_over_the_period() -> None:
    trace = trace_of(Plan(workers=4, prefetch=2), [0.08] * 60, [0.001] * 60, cpu_share=0.0)

    seen = read_at_once(case_of(trace))

    assert seen is not None
    readers, blocked_s = seen
    assert readers == pytest.approx(4, rel=0.05)
    assert blocked_s == pytest.approx(0.08)


def test_a_fetch_that_computes_reads_from_no_store() -> None:
    assert read_at_once(case_of(trace_of(Plan(), [0.08] * 60, [0.001] * 60))) is None
