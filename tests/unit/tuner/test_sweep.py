"""A sweep runs every combination that can be run, and says of the others why not."""

import numpy as np
import pytest
from test_space import case_of

from wellfed._tuner.space import Space
from wellfed._tuner.sweep import read_knobs, swept_space
from wellfed.errors import UsageError

NAME = "one_worker_computes"


def swept(*words: str, can_pin: bool = True) -> Space:
    rng = np.random.default_rng(0)
    return swept_space(case_of(NAME), read_knobs(words), rng, can_pin=can_pin)


def test_every_combination_comes_once_and_the_present_one_first() -> None:
    found = swept("num_workers=1,2,4", "prefetch_factor=2,4", "pin_memory=0,1")
    plans = [one.plan for one in found.choices]

    assert plans[0] == case_of(NAME).plan
    assert len(plans) == len(set(plans)) == 12
    assert {(one.workers, one.prefetch) for one in plans} == {
        (workers, depth) for workers in (1, 2, 4) for depth in (2, 4)
    }


def test_without_workers_there_is_one_setting_and_the_rest_is_refused() -> None:
    found = swept("num_workers=0", "prefetch_factor=2,4")
    none = [one.plan for one in found.choices if one.plan.workers == 0]

    assert len(none) == 1
    assert none[0].prefetch is None
    assert [(one.prefetch, why) for one, why in found.refused] == [
        (2, "prefetch_factor needs workers"),
        (4, "prefetch_factor needs workers"),
    ]


def test_without_a_device_nothing_is_pinned() -> None:
    found = swept("pin_memory=0,1", can_pin=False)

    assert not any(one.plan.pin_memory for one in found.choices)
    assert [why for _, why in found.refused] == ["there is no device to pin memory for"]


def test_both_loaders_can_be_swept() -> None:
    found = swept("loader=torch,wellfed", "num_workers=0,2")

    assert {one.plan.backend for one in found.choices} == {"torch", "inline", "processes"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing to sweep"),
        (["workers=2"], "cannot be swept"),
        (["num_workers=-1"], "no value"),
        (["num_workers="], "no value"),
        (["prefetch_factor=0"], "no value"),
        (["pin_memory=maybe"], "no value"),
        (["multiprocessing_context=thread"], "no value"),
        (["persistent_workers=1"], "between epochs"),
        (["num_workers=1", "num_workers=2"], "given twice"),
    ],
)
def test_what_is_no_setting_is_usage(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_knobs(words)
