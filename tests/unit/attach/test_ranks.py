"""Ranks that agree to stop do so after the same batch, and none ever waits for another."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellfed._attach.ranks import LEAST_MARGIN, Agreement

TRAIN, OTHER = "train.py:7", "train.py:9"


class DictStore:
    """A store that would never answer where torch's would block: it fails the test."""

    def __init__(self) -> None:
        self.words: dict[str, bytes] = {}

    def add(self, key: str, amount: int) -> int:
        count = int(self.words.get(key, b"0")) + amount
        self.words[key] = str(count).encode()
        return count

    def set(self, key: str, value: str) -> None:
        self.words[key] = value.encode()

    def check(self, keys: list[str]) -> bool:
        return all(key in self.words for key in keys)

    def get(self, key: str) -> bytes:
        return self.words[key]


def ranks_of(world: int, store: DictStore | None = None) -> list[Agreement]:
    store = store or DictStore()
    return [Agreement(rank, world, store) for rank in range(world)]


# -- a table of events: (rank, its batches, whether it wants to stop, whether it stops)

Event = tuple[int, int, bool, bool]
M = LEAST_MARGIN

TABLE: dict[str, list[Event]] = {
    "nobody wants to": [(0, 5, False, False), (1, 5, False, False)] * 3,
    "only rank 0 may want to": [(1, 5, True, False), (0, 5, False, False), (1, 6, True, False)],
    "in step": [
        (0, 5, True, False),
        (1, 5, False, False),
        (0, 6, True, False),  # both have been heard: batch 6 + margin
        (1, 6, False, False),
        (0, 5 + M, True, False),
        (1, 5 + M, False, False),
        (0, 6 + M, True, True),
        (1, 6 + M, False, True),
    ],
    "one is ahead": [
        (0, 5, True, False),
        (1, 7, False, False),
        (0, 6, True, False),
        (1, 8, False, False),
        (1, 7 + M, False, True),
        (0, 6 + M, True, False),
        (0, 7 + M, True, True),
    ],
    "one is far ahead: so is the stop": [
        (0, 5, True, False),
        (1, 15, False, False),
        (0, 6, True, False),
        (1, 36, False, False),
        (1, 37, False, True),
        (0, 37, True, True),
    ],
    "one does not answer": [(0, batch, True, False) for batch in range(5, 200)],
    "a stop that was swallowed is repeated": [
        (0, 5, True, False),
        (1, 5, False, False),
        (0, 6, True, False),
        (0, 6 + M, True, True),
        (0, 7 + M, False, True),
    ],
}


@pytest.mark.parametrize("events", TABLE.values(), ids=TABLE)
def test_events_lead_to_the_stop_that_the_table_says(events: list[Event]) -> None:
    ranks = ranks_of(2)
    for rank, batches, wants, stops in events:
        told = ranks[rank].poll(TRAIN, batches, TRAIN if wants else None)

        assert (rank, batches, told) == (rank, batches, stops)


def test_batches_of_another_loader_neither_count_nor_stop() -> None:
    ranks = ranks_of(2)
    for rank in ranks:
        assert not rank.poll(TRAIN, 5, TRAIN)
    assert not ranks[0].poll(TRAIN, 6, TRAIN)
    assert ranks[0].stop_at == 6 + M

    assert not ranks[0].poll(OTHER, 1000, TRAIN)
    assert ranks[0].poll(TRAIN, 6 + M, TRAIN)


def test_a_second_agreement_starts_afresh() -> None:
    store = DictStore()
    for rank in ranks_of(2, store):
        rank.poll(TRAIN, 5, TRAIN)

    later = ranks_of(2, store)

    assert not later[1].poll(TRAIN, 1000, None)
    assert later[1].stop_at is None


# -- a random walk over all the ways in which ranks may take turns


@dataclass
class Run:
    """Ranks that train, some way apart at most, as a collective would keep them."""

    world: int
    apart: int
    silent: int | None = None
    had: list[int] = field(default_factory=list)
    stopped: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.had = [0] * self.world
        self.ranks = ranks_of(self.world)

    def step(self, rank: int, wants: bool) -> None:
        """One rank asks for its next batch, unless the others are too far behind or it is done."""
        if rank in self.stopped or self.had[rank] - min(self.had) >= self.apart:
            return
        if rank != self.silent and self.ranks[rank].poll(
            TRAIN, self.had[rank], TRAIN if wants else None
        ):
            self.stopped[rank] = self.had[rank]
        else:
            self.had[rank] += 1

    def check(self) -> None:
        known = {rank.stop_at for rank in self.ranks if rank.stop_at is not None}
        assert len(known) <= 1
        for stop_at in known:
            # No rank is past the stop without having stopped, whether it knows of it or not.
            assert max(self.had) <= stop_at
            assert set(self.stopped.values()) <= {stop_at}


runs: Any = st.builds(Run, world=st.integers(2, 4), apart=st.integers(1, LEAST_MARGIN))
turns = st.lists(st.integers(0, 3), max_size=400)


@given(runs, turns, st.integers(0, 100))
def test_all_ranks_stop_after_the_same_batch(run: Run, order: list[int], begins: int) -> None:
    fair = list(range(run.world)) * (4 * LEAST_MARGIN + begins)
    for turn, rank in enumerate([*order, *fair]):
        run.step(rank % run.world, wants=turn >= begins)
        run.check()

    assert set(run.stopped) == set(range(run.world))
    assert len(set(run.stopped.values())) == 1


@given(st.data(), st.integers(2, 4), st.integers(1, 60))
def test_ranks_far_apart_agree_if_they_stay_as_far_apart_as_was_seen(
    data: st.DataObject, world: int, apart: int
) -> None:
    run = Run(world, apart + 1)
    # The first is as far ahead of the last, when they answer, as it will ever be.
    run.had = [apart if rank == world - 1 else 0 for rank in range(world)]
    for rank in range(world):
        run.step(rank, wants=True)
        run.check()
    order = data.draw(st.lists(st.integers(0, world - 1), max_size=300))
    for rank in [*order, *list(range(world)) * 4 * (apart + LEAST_MARGIN)]:
        run.step(rank, wants=True)
        run.check()

    assert len(run.stopped) == world
    assert len(set(run.stopped.values())) == 1


@given(turns, st.integers(2, 4), st.data())
def test_a_rank_that_never_answers_means_that_nobody_stops(
    order: list[int], world: int, data: st.DataObject
) -> None:
    run = Run(world, apart=LEAST_MARGIN, silent=data.draw(st.integers(1, world - 1)))
    for rank in [*order, *list(range(world)) * 50]:
        run.step(rank % world, wants=True)
        run.check()

    assert run.stopped == {}
    assert all(rank.stop_at is None for rank in run.ranks)
