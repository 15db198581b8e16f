"""A loader that is taken up gives, bit for bit, what the undisturbed one would have given."""

import gc
import io
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from resume_jobs import (
    LENGTH,
    Asking,
    Counting,
    Drawing,
    Eager,
    Failing,
    Lots,
    Owner,
    Placed,
    Plain,
    Reading,
    Sometimes,
    Stateful,
)
from torch.utils.data import RandomSampler, TensorDataset

import wellfed
from wellfed.records import Plan

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)

Make = Callable[..., Any]
MOST = 23
"""Batches looked at in an epoch: one of them never ends."""
LAST = 8
"""The last batch to stop at: most epochs have as many."""


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def loader(dataset: Any, **given: Any) -> Any:
    return wellfed.DataLoader(dataset, **{"batch_size": 3, **given})


JOBS: dict[str, Make] = {
    "plain": lambda **how: loader(Plain(), **how),
    "shuffled": lambda **how: loader(Plain(), shuffle=True, **how),
    "drawing": lambda **how: loader(Drawing(), shuffle=True, **how),
    "own generator": lambda **how: loader(Drawing(), shuffle=True, generator=seeded(3), **how),
    "now and then": lambda **how: loader(Sometimes(), shuffle=True, drop_last=True, **how),
    "asking": lambda **how: loader(Asking(), **how),
    "failing": lambda **how: loader(Failing(), **how),
    "eager": lambda **how: loader(Drawing(), sampler=Eager(), **how),
    "one by one": lambda **how: loader(Drawing(), batch_size=None, sampler=Eager(), **how),
    "lots": lambda **how: wellfed.DataLoader(Drawing(), batch_sampler=Lots(), **how),
    "stateful sampler": lambda **how: loader(Drawing(), sampler=Stateful(), **how),
    "owner": lambda **how: loader(Owner(), shuffle=True, **how),
    "counting": lambda **how: loader(Counting(), shuffle=True, **how),
    "reading": lambda **how: loader(Reading(), **how),
    "placed": lambda **how: loader(Placed(), **how),
    "rows": lambda **how: loader(
        TensorDataset(torch.arange(LENGTH)),
        sampler=RandomSampler(range(LENGTH), replacement=True, num_samples=40, generator=seeded(5)),
        **how,
    ),
}


@pytest.fixture(autouse=True)
def _generators_as_they_were() -> Iterator[None]:
    kept = rng()
    yield
    restore(kept)
    gc.collect()  # an iterator that raised is in a cycle with what it raised


def rng() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def restore(kept: tuple[Any, ...]) -> None:
    random.setstate(kept[0])
    np.random.set_state(kept[1])
    torch.set_rng_state(kept[2])


def seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def plain(batch: Any) -> Any:
    if isinstance(batch, (list, tuple)):
        return [plain(one) for one in batch]
    return batch.tolist() if isinstance(batch, torch.Tensor) else batch


def some(batches: Any, count: int) -> list[Any]:
    """So many batches, or what was raised in their place."""
    came: list[Any] = []
    while len(came) < count:
        try:
            came.append(plain(next(batches)))
        except StopIteration:
            came.append("end")
            break
        except ValueError as error:
            came.append(str(error).splitlines()[0])
    return came


def saved(state: dict[str, Any]) -> dict[str, Any]:
    """What comes of it on its way through a file."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return dict(torch.load(file, weights_only=True))


def passes(one: Any, first: Any, left: int, epochs: int) -> list[Any]:
    """The rest of an epoch, and those after it."""
    came = [some(first, left)]
    return came + [some(iter(one), MOST) for _ in range(epochs)]


def check(make: Make, stop: int, how: dict[str, Any], then: dict[str, Any], before: int) -> None:
    """Stop after so many batches of the epoch after `before` others, and go on in a new loader."""
    seed(7)
    one = make(**how)
    for _ in range(before):
        some(iter(one), MOST)
    batches = iter(one)
    some(batches, stop)
    state, trainers = saved(one.state_dict()), rng()
    expected = passes(one, batches, MOST - stop, 1)
    ended = rng()[0]
    del batches
    seed(99)
    other = make(**then)
    restore(trainers)

    other.load_state_dict(state)
    epoch = state["epoch"]
    left = iter(()) if epoch is None or epoch["ended"] else iter(other)
    came = passes(other, left, MOST - stop, 1)

    assert came == expected
    assert ended == rng()[0]


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("workers", [0, 2])
def test_it_goes_on_where_it_stopped(job: str, workers: int) -> None:
    how = {"num_workers": workers}

    check(JOBS[job], 3, how, how, 0)


NEVER_ENDING = "stateful sampler"
# An epoch that is left has read as far ahead as its plan says, and the next begins after that.
ENDING = sorted(set(JOBS) - {NEVER_ENDING})

plans: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    num_workers=st.just(3),
    prefetch_factor=st.integers(1, 3),
    plan=st.none()
    | st.builds(Plan, backend=st.just("processes"), workers=st.integers(1, 3), prefetch=st.just(2)),
)


@given(st.sampled_from(ENDING), st.integers(0, LAST), plans, plans)
@settings(max_examples=8)
def test_other_processes_go_on_for_the_same_logical_workers(
    job: str, stop: int, how: dict[str, Any], then: dict[str, Any]
) -> None:
    check(JOBS[job], stop, how, then, 0)


@given(st.sampled_from(sorted(JOBS)), st.integers(0, LAST), st.integers(0, 2), st.booleans())
@settings(max_examples=8)
def test_a_later_epoch_is_taken_up_too(job: str, stop: int, before: int, persistent: bool) -> None:
    again = job in ("owner",) or (job == "reading" and stop)
    if persistent and before and again:
        return  # refused, as another test says
    if persistent and job == NEVER_ENDING:
        return  # what is under way when an epoch is left depends on how fast workers are
    how = {"num_workers": 2, "persistent_workers": persistent}

    check(JOBS[job], stop, how, how, before)


@given(
    st.sampled_from(["plain", "shuffled", "drawing", "now and then", "lots", "eager"]),
    st.integers(0, LAST),
    st.integers(0, 1),
    st.booleans(),
)
@settings(max_examples=6)
def test_with_auto_only_the_position_counts(job: str, stop: int, before: int, inline: bool) -> None:
    plan = Plan(backend="processes", workers=2, prefetch=2)
    ways: list[dict[str, Any]] = [{}, {"plan": plan}]

    check(
        JOBS[job],
        stop,
        {"num_workers": "auto"} | ways[inline],
        {"num_workers": "auto"} | ways[not inline],
        before,
    )


@pytest.mark.parametrize("workers", [(0, 3), (3, 0), (1, 2), (3, "auto")])
@pytest.mark.parametrize("job", ["plain", "shuffled", "eager without draws", "rows"])
def test_what_draws_nothing_goes_on_with_any_number_of_workers(
    job: str, workers: tuple[Any, Any]
) -> None:
    makes = {
        **JOBS,
        "eager without draws": lambda **how: loader(Plain(), sampler=Eager(), **how),
    }
    one, other = ({"num_workers": number} for number in workers)

    check(makes[job], 5, one, other, 0)


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("stop", range(LAST))
def test_a_stream_that_ended_with_a_short_batch_does_not_begin_again(
    workers: int, stop: int
) -> None:
    """The dataset itself stands at its beginning by then."""
    how = {"num_workers": workers, "prefetch_factor": 1 if workers else None}

    check(JOBS["placed"], stop, how, how, 0)
