"""Rank 0 hears what other ranks saw, and waits for none that will not speak."""

import pytest

from wellfed._attach.hearing import Hearing
from wellfed.records import RankSeen


class DictStore:
    """A store in which every key is there or not; it never blocks."""

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


class Gone(DictStore):
    """A store whose server has ended."""

    def check(self, keys: list[str]) -> bool:
        raise RuntimeError("connection reset by peer")


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def seen(rank: int) -> RankSeen:
    return RankSeen(
        rank=rank, batches=40, period_s=0.01, wait_s=0.001 * rank, workers=2, busy_cores=1.0
    )


def hearing(rank: int, store: DictStore, time: Time | None = None) -> Hearing:
    time = time or Time()
    return Hearing(rank, 3, store, clock=time, sleep=time.sleep)


def test_rank_0_hears_all_in_their_order() -> None:
    store = DictStore()
    zero, one, two = (hearing(rank, store) for rank in range(3))
    two.tell(seen(2))
    one.tell(seen(1))

    assert zero.hear(seen(0)) == (seen(0), seen(1), seen(2))


def test_a_rank_that_is_not_watched_is_not_waited_for() -> None:
    store, time = DictStore(), Time()
    zero, one = hearing(0, store, time), hearing(1, store)
    one.tell(seen(1))

    assert zero.hear(seen(0)) == (seen(0), seen(1))
    assert time.now_s == 0


def test_a_rank_that_died_is_waited_for_so_long_and_no_longer() -> None:
    store, time = DictStore(), Time()
    zero, _died, two = hearing(0, store, time), hearing(1, store), hearing(2, store)
    two.tell(seen(2))

    assert zero.hear(seen(0), within_s=10.0) == (seen(0), seen(2))
    assert 10.0 <= time.now_s < 10.1


def test_a_rank_that_saw_too_little_is_left_out_at_once() -> None:
    store, time = DictStore(), Time()
    zero, one = hearing(0, store, time), hearing(1, store)
    one.tell(None)

    assert zero.hear(seen(0)) == ()
    assert time.now_s == 0


def test_a_second_watching_does_not_hear_the_first() -> None:
    store = DictStore()
    for rank in (1, 2):
        hearing(rank, store).tell(seen(rank))
    hearing(0, store)

    again = hearing(0, store)

    assert again.hear(seen(0)) == ()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_store_that_has_gone_costs_the_others_and_nothing_else(rank: int) -> None:
    one = hearing(rank, Gone())
    one.tell(seen(rank))

    assert one.hear(seen(rank)) == ()
