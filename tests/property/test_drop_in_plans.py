"""However many processes run, batches are those of torch's `num_workers`, bit for bit."""

from functools import partial
from typing import Any

import pytest
from drop_in_jobs import DATASETS, ORDERS, SOURCES
from drop_in_runs import Case, agree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import wellfed
from wellfed.records import Plan

STREAMS = ("stream", "sharded", "measured")
MAPS = [name for name in DATASETS if name not in STREAMS]
# Free to move, at least until a sample that is not.
FREE = ["still", "sometimes", "wonders", "fragile"]


def under(processes: int, case: Case) -> Any:
    """Our loader, with so many processes for the case's logical workers."""
    plan = Plan(
        backend="processes",
        workers=processes,
        prefetch=case.prefetch or 2,
        persistent=case.persistent,
        in_order=case.in_order,
    )
    return partial(wellfed.DataLoader, plan=plan)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    processes=st.integers(1, 4),
    case=st.builds(
        Case,
        dataset=st.sampled_from(FREE * 2 + MAPS),
        length=st.integers(1, 30),
        draws=st.sampled_from([(), (), ("python",), SOURCES]),
        batch_size=st.sampled_from([None, 1, 2, 3, 5]),
        drop_last=st.booleans(),
        collate=st.sampled_from(["default", "default", "keep", "draws"]),
        order=st.sampled_from(ORDERS),
        workers=st.integers(1, 4),
        prefetch=st.sampled_from([1, 2, 4]),
        persistent=st.booleans(),
        method=st.just("fork"),
        script=st.sampled_from(["epochs", "leave"]),
    ),
)
def test_any_number_of_processes(processes: int, case: Case) -> None:
    agree(case, under(processes, case), DataLoader)


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("dataset", [*MAPS, *STREAMS])
def test_every_dataset_with_two_workers(dataset: str, processes: int) -> None:
    case = Case(dataset=dataset, length=30, draws=SOURCES, workers=2, order="shuffled")
    if case.streams:
        case = Case(dataset=dataset, length=30, draws=SOURCES, workers=2)

    agree(case, under(processes, case), DataLoader)


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("dataset", FREE)
def test_batches_that_move_until_one_may_not(dataset: str, persistent: bool) -> None:
    draws = SOURCES if dataset == "sometimes" else ()
    case = Case(dataset=dataset, length=40, draws=draws, workers=3, persistent=persistent)

    agree(case, under(2, case), DataLoader)


@pytest.mark.parametrize("prefetch", [1, 4])
@pytest.mark.parametrize("processes", [1, 2])
def test_an_epoch_that_is_left_while_a_batch_under_way_draws(processes: int, prefetch: int) -> None:
    case = Case(
        dataset="sometimes", length=5, draws=("python",), batch_size=None, collate="keep",
        workers=processes, prefetch=prefetch, persistent=True, script="leave",
    )  # fmt: skip

    agree(case, under(processes, case), DataLoader)
