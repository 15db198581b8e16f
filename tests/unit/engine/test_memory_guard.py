"""The guard as a function: what it decides from what it saw, and what it never does."""

import itertools
from dataclasses import replace

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellfed._engine.guard import (
    CALM_S,
    Decision,
    Fewer,
    Keep,
    More,
    Seen,
    State,
    Window,
    kept_bytes,
    step,
)
from wellfed._limits import Room

MB = 1e6


def state(**changed: object) -> State:
    """Two workers that may have 1,000 MB, and would have 32 batches under way."""
    asked = State(limit_bytes=1_000 * MB, workers=2, full=32, window=32, slabs_bytes=900 * MB)
    return replace(asked, **changed)  # type: ignore[arg-type]


def seen(at_s: float = 0.0, **changed: object) -> Seen:
    """Batches of 10 MB; plenty of room."""
    looked = Seen(
        at_s=at_s,
        slabs_bytes=100 * MB,
        batch_bytes=10 * MB,
        kept_bytes=10 * MB,
        workers_bytes=100 * MB,
    )
    return replace(looked, **changed)  # type: ignore[arg-type]


def room(left: float, total: float = 10_000, stalled_s: float = 0.0, kills: int = 0) -> Room:
    return Room(left * MB, total * MB, stalled_s, kills)


def told(decision: Decision) -> tuple[str, int]:
    match decision:
        case Window(batches=batches):
            return "window", batches
        case Fewer(workers=workers):
            return "fewer", workers
        case More(workers=workers):
            return "more", workers
        case Keep():
            return "keep", 0


@pytest.mark.parametrize(
    ("what", "looked", "says"),
    [
        ("all fits", seen(), ("keep", 0)),
        ("no batch has come", seen(batch_bytes=0, workers_bytes=990 * MB), ("keep", 0)),
        # 900 MB are 30 batches, less two slabs a worker.
        ("large batches", seen(batch_bytes=30 * MB, kept_bytes=0), ("window", 26)),
        # One slab each is with the trainer at any time; the other 240 MB are kept.
        ("kept batches", seen(batch_bytes=30 * MB, kept_bytes=300 * MB), ("window", 18)),
        ("workers that grew", seen(workers_bytes=800 * MB), ("window", 16)),
        # Slabs have 100 MB, and 1,300 are left of which 1,000 stay free.
        ("a full machine", seen(workers_bytes=0, room=room(1_300)), ("keep", 0)),
        ("a fuller machine", seen(workers_bytes=0, room=room(1_100)), ("window", 16)),
        ("no room at all", seen(workers_bytes=0, room=room(0)), ("fewer", 1)),
        ("room for the batches being made", seen(batch_bytes=225 * MB), ("window", 2)),
        ("no room for those", seen(batch_bytes=400 * MB, kept_bytes=0), ("fewer", 1)),
    ],
)
def test_what_does_not_fit_is_given_up(what: str, looked: Seen, says: tuple[str, int]) -> None:
    _, decision = step(state(), looked)

    assert told(decision) == says


def test_a_share_of_what_is_left_is_for_each_rank() -> None:
    _, alone = step(state(), seen(workers_bytes=0, room=room(1_200)))
    _, four = step(state(ranks=4), seen(workers_bytes=0, room=room(1_200)))

    assert [told(alone), told(four)] == [("window", 26), ("window", 11)]


@pytest.mark.parametrize(
    ("later", "why"),
    [
        (room(9_000, stalled_s=0.2), "processes wait for memory"),
        (room(9_000, kills=1), "a process was ended for want of memory"),
    ],
)
def test_pressure_takes_a_fifth_whatever_the_numbers_say(later: Room, why: str) -> None:
    after, first = step(state(), seen(room=room(9_000)))
    after, second = step(after, seen(1.0, room=later))

    assert isinstance(first, Keep)
    assert second == Window(25, why)
    # Nor do the slabs grow meanwhile.
    assert after.slabs_bytes == 100 * MB


def test_the_same_readings_again_change_nothing_more() -> None:
    short = seen(batch_bytes=30 * MB)
    after, _ = step(state(), short)
    again, decision = step(after, replace(short, at_s=0.5))

    assert isinstance(decision, Keep)
    assert again.window == after.window


def test_it_grows_by_a_quarter_each_time_all_was_calm_for_long() -> None:
    now = state(window=8)
    grown = []
    for at_s in range(int(8 * CALM_S)):
        now, decision = step(now, seen(float(at_s)))
        if not isinstance(decision, Keep):
            grown.append((at_s, told(decision)[1]))

    assert [batches for _, batches in grown[:4]] == [10, 12, 15, 18]
    assert [later - at_s for (at_s, _), (later, _) in itertools.pairwise(grown)] == [CALM_S] * (
        len(grown) - 1
    )


def test_workers_come_back_one_at_a_time_once_all_batches_are_back() -> None:
    now = state(workers=1, planned=3, full=16, window=8)
    back = []
    for at_s in range(int(13 * CALM_S)):
        now, decision = step(now, seen(float(at_s)))
        if isinstance(decision, More):
            now = replace(now, workers=decision.workers, full=16 * decision.workers)
        if not isinstance(decision, Keep):
            back.append(told(decision))

    assert back == [
        *(("window", batches) for batches in (10, 12, 15, 16)),
        ("more", 2),
        *(("window", batches) for batches in (20, 25, 31, 32)),
        ("more", 3),
        *(("window", batches) for batches in (40, 48)),
    ]


@pytest.mark.parametrize(
    ("what", "left", "back"),
    [
        ("room for just what it takes", 1_130, False),  # 1,000 stay free
        ("and a quarter more", 1_160, True),
    ],
)
def test_a_worker_comes_back_where_it_has_room_to_spare(what: str, left: float, back: bool) -> None:
    # Each takes 100 MB and two slabs of 10.
    now = state(workers=1, planned=2, full=4, window=4, calm_since_s=0.0)

    _, decision = step(now, seen(CALM_S, slabs_bytes=40 * MB, room=room(left)))

    assert isinstance(decision, More) == back


def test_shortage_ends_the_calm() -> None:
    now = state(window=8)
    now, _ = step(now, seen(0.0, room=room(9_000)))
    now, _ = step(now, seen(CALM_S - 1, room=room(9_000, kills=1)))
    _, decision = step(now, seen(CALM_S, room=room(9_000, kills=1)))

    assert isinstance(decision, Keep)


def test_kept_batches_have_what_the_window_leaves() -> None:
    assert kept_bytes(state(), 10 * MB) == (900 - 340) * MB
    assert kept_bytes(state(slabs_bytes=100 * MB), 10 * MB) == 0


amounts = st.floats(0, 2_000 * MB)
rooms = st.one_of(
    st.none(),
    st.builds(
        Room, left_bytes=amounts, total_bytes=amounts, stalled_s=st.floats(0, 9), kills=st.just(0)
    ),
)
looks = st.builds(
    Seen,
    at_s=st.just(0.0),
    slabs_bytes=amounts,
    batch_bytes=st.one_of(st.just(0.0), st.floats(1, 100 * MB)),
    kept_bytes=amounts,
    workers_bytes=amounts,
    room=rooms,
)


@hypothesis.settings(max_examples=60)
@given(st.lists(looks, min_size=1, max_size=30), st.integers(1, 8), st.integers(1, 4))
def test_on_any_walk_the_window_stays_within_what_may_be_taken(
    walk: list[Seen], workers: int, ranks: int
) -> None:
    now = state(workers=workers, ranks=ranks)
    for turn, looked in enumerate(walk):
        before, looked = now, replace(looked, at_s=float(turn))
        now, decision = step(replace(before, planned=workers), looked)

        assert not isinstance(decision, More)  # none was taken away
        assert 1 <= now.window <= now.full
        assert 0 <= now.slabs_bytes <= now.limit_bytes
        if isinstance(decision, Window):
            assert decision.batches == now.window != before.window
        if isinstance(decision, Keep):
            assert now.window == before.window
        if isinstance(decision, Fewer):
            assert 1 <= decision.workers < workers
        # More than each worker's one, and it fits with the slabs in between.
        if looked.batch_bytes and now.window > max(before.window, workers):
            assert (now.window + workers) * looked.batch_bytes <= now.slabs_bytes
