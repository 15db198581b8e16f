"""Where random streams stand survives as bytes, and is kept by home in the order of the stream."""

import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset

import wellfed
from wellfed._engine.generators import Reader, go_on_from
from wellfed._engine.stream_states import (
    WORDS_BYTES,
    StreamState,
    StreamStates,
    packed,
    unpacked,
)
from wellfed._engine.streams import Streams
from wellfed.records import Plan

words = st.integers(0, 2**32).map(lambda seed: random.Random(seed).randbytes(WORDS_BYTES))
halves = st.none() | st.floats(allow_nan=False)
stream_states = st.builds(
    StreamState,
    python=words,
    python_half=halves,
    numpy=words | st.just(b""),
    numpy_half=halves,
    torch=words | st.binary(max_size=9),
)

DRAWS = (
    random.random,
    lambda: random.gauss(0, 1),
    np.random.rand,
    np.random.randn,
    lambda: float(torch.rand(())),
    lambda: float(torch.randn(())),
    lambda: np.random.randint(1000),
    lambda: float(torch.randn(16).sum()),
)


@pytest.fixture(autouse=True)
def _generators_as_they_were() -> Iterator[None]:
    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(kept[0])
    np.random.set_state(kept[1])
    torch.set_rng_state(kept[2])


def draw_all() -> list[float]:
    return [float(draw()) for draw in DRAWS for _ in range(3)]


@given(stream_states)
def test_what_is_packed_comes_out_again(state: StreamState) -> None:
    assert unpacked(packed(state)) == state


@given(stream_states, st.data())
@settings(max_examples=30)
def test_what_is_cut_or_longer_is_refused(state: StreamState, data: st.DataObject) -> None:
    raw = packed(state)
    cut = data.draw(st.integers(0, len(raw) - 1))

    for wrong in (raw[:cut], raw + b"\0", b"\7" + raw[1:]):
        with pytest.raises(ValueError, match="state of random streams has"):
            unpacked(wrong)


@given(st.lists(st.sampled_from(range(len(DRAWS))), max_size=12), st.integers(0, 99))
@settings(max_examples=40)
def test_the_generators_go_on_from_where_they_were_read(draws: list[int], seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    for one in draws:
        DRAWS[one]()
    raw = packed(Reader().read())
    expected = draw_all()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)

    go_on_from(unpacked(raw))

    assert draw_all() == expected


def test_the_second_half_of_a_pair_is_read_from_memory() -> None:
    np.random.seed(3)
    np.random.randn()

    half = Reader().read().numpy_half

    assert half == np.random.get_state(legacy=False)["gauss"]
    np.random.randn()
    assert Reader().read().numpy_half is None


def test_streams_tell_once_that_they_moved() -> None:
    streams = Streams(11, (0, 3))
    begun = [streams.moved()]
    streams.enter(3)
    begun.append(streams.moved())

    assert all(begun)
    assert streams.moved() == b""
    random.gauss(0, 1)
    assert unpacked(streams.moved()).python_half is not None
    random.gauss(0, 1)
    assert unpacked(streams.moved()).python_half is None
    streams.enter(0)
    assert streams.moved() == b""


def test_streams_of_a_home_go_on_elsewhere() -> None:
    streams = Streams(11, (0, 1))
    streams.enter(1)
    draw_all()
    states = streams.moved()
    expected = draw_all()
    elsewhere = Streams(11, (1,))

    elsewhere.go_on(1, states)

    assert elsewhere.moved() == b""
    assert draw_all() == expected


def test_a_state_without_numpys_leaves_numpys_generator_alone() -> None:
    state = Reader().read()._replace(numpy=b"", numpy_half=None)
    np.random.seed(4)
    expected = np.random.rand()
    np.random.seed(4)

    go_on_from(state)

    assert math.isclose(np.random.rand(), expected)


def test_what_arrived_and_what_was_delivered_are_told_apart() -> None:
    states = StreamStates({1: b"begun"})
    states.arrived(0, 0, b"a")
    states.arrived(0, 2, b"b")
    states.arrived(0, 4, b"c")

    assert states.last_arrived(0) == b"c"
    assert states.last_delivered() == {1: b"begun"}
    states.delivered(0, 2)
    assert states.last_delivered() == {0: b"b", 1: b"begun"}
    states.delivered(1, 3)
    assert states.last_delivered() == {0: b"b", 1: b"begun"}
    assert states.last_arrived(2) == b""


def test_an_epoch_begins_after_all_that_was_made_for_those_before() -> None:
    states = StreamStates()
    states.arrived(0, 0, b"a")
    states.arrived(0, 2, b"b")
    states.begin_epoch()

    assert states.last_delivered() == {0: b"b"}
    states.arrived(0, 4, b"late", current=False)
    assert states.last_delivered() == {0: b"late"}
    states.arrived(0, 0, b"new")
    assert states.last_delivered() == {0: b"late"}
    states.delivered(0, 0)
    assert states.last_delivered() == {0: b"new"}


class Drawing(Dataset[list[float]]):
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> list[float]:
        return draw_all()


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("processes", [1, 2])
def test_the_states_that_came_with_a_batch_continue_its_home(workers: int, processes: int) -> None:
    plan = Plan(backend="processes", workers=processes, prefetch=2)
    loader = wellfed.DataLoader(Drawing(), batch_size=1, num_workers=workers, plan=plan)
    batches: Any = iter(loader)
    taken = [next(batches) for _ in range(4)]
    delivered = batches._stream.standing.streams.last_delivered()
    rest = [torch.stack(batch).flatten().tolist() for batch in batches]

    assert len(taken) == 4
    assert sorted(delivered) == list(range(workers))
    for home, states in delivered.items():
        go_on_from(unpacked(states))
        following = [rest[k - 4] for k in range(4, 12) if k % workers == home]
        assert [draw_all() for _ in following] == following
