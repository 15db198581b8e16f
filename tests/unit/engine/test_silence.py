"""How long is long: told as short stories of a clock."""

from wellfed._engine.silence import Silence


def test_a_silence_is_told_once() -> None:
    silence = Silence(least_s=60)
    silence.begin()

    assert [silence.left_s(now) for now in (100, 130, 160, 161, 500)] == [60, 30, 0, None, None]


def test_each_batch_is_waited_for_anew() -> None:
    silence = Silence(least_s=60)
    for begun in (0, 50, 100):
        silence.begin()

        assert silence.left_s(begun) == 60


def test_slow_batches_are_waited_for_longer() -> None:
    silence = Silence(least_s=60)
    for seconds in (5, 15):
        silence.took(seconds * 10**9)
    silence.begin()

    assert [silence.left_s(now) for now in (0, 150, 200)] == [200, 50, 0]
