"""SIGINT waits for the end of a calm block, or for a place where it is let in."""

# ruff: noqa: PT012 - what runs before the interrupt comes is what is looked at

import signal
import threading
from collections.abc import Iterator

import pytest

from wellfed._engine.interrupts import Calm


@pytest.fixture(autouse=True)
def handler_as_it_was() -> Iterator[None]:
    """Python's own; a shell has a command that it runs in the background ignore the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    after = signal.signal(signal.SIGINT, before)
    assert after is signal.default_int_handler


def test_an_interrupt_comes_at_the_end_of_the_block() -> None:
    done = []

    with pytest.raises(KeyboardInterrupt), Calm():
        signal.raise_signal(signal.SIGINT)
        done.append("the rest")

    assert done == ["the rest"]


def test_an_interrupt_comes_at_once_where_it_is_let_in() -> None:
    calm, done = Calm(), []

    with pytest.raises(KeyboardInterrupt), calm, calm.opened:
        signal.raise_signal(signal.SIGINT)
        done.append("not reached")

    assert done == []


def test_an_interrupt_that_came_before_ends_what_is_let_in_before_it_begins() -> None:
    calm, done = Calm(), []

    with pytest.raises(KeyboardInterrupt), calm:
        signal.raise_signal(signal.SIGINT)
        done.append("bookkeeping")
        with calm.opened:
            done.append("a wait")

    assert done == ["bookkeeping"]


def test_after_an_interrupt_the_block_is_calm_again() -> None:
    calm, done = Calm(), []
    with pytest.raises(KeyboardInterrupt), calm, calm.opened:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), calm:
        signal.raise_signal(signal.SIGINT)
        done.append("the rest")

    assert done == ["the rest"]


def test_a_block_in_a_block_hands_the_interrupt_on() -> None:
    done = []

    with pytest.raises(KeyboardInterrupt), Calm():
        with Calm():
            signal.raise_signal(signal.SIGINT)
        done.append("the outer rest")

    assert done == ["the outer rest"]


def test_a_handler_of_the_users_own_runs_once_and_stays() -> None:
    came: list[int] = []

    def own(number: int, frame: object) -> None:
        came.append(number)

    before = signal.signal(signal.SIGINT, own)
    try:
        with Calm():
            signal.raise_signal(signal.SIGINT)
            assert came == []
        assert came == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_that_is_put_there_inside_stays() -> None:
    def own(number: int, frame: object) -> None:
        raise AssertionError

    try:
        with Calm():
            signal.signal(signal.SIGINT, own)
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_another_thread_touches_nothing() -> None:
    seen = []

    def look() -> None:
        with Calm():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()

    assert seen == [signal.default_int_handler]
