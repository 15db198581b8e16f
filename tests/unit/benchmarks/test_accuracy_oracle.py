"""What is right is what was measured, not what was planted."""

import pytest
from planted.outcome import CONTROL, NEITHER, label, remedied
from planted.recipe import Recipe

from wellfed.records import Plan, Remedy

RUN = Recipe(dataset="tiny", sizes={"floats": 4.0}, batch_size=4, workers=2, epoch_batches=1_000)


def test_a_plant_that_costs_a_tenth_is_the_cause() -> None:
    what = label("latency_bound", {"planted": [87, 89], "cured": [100, 100], "free": [110, 110]})

    assert what.name == "latency_bound"
    assert what.plant_cost == pytest.approx(0.12)
    assert what.data_cost == pytest.approx(0.20)


def test_a_plant_that_costs_less_makes_a_control_where_data_costs_little() -> None:
    what = label("latency_bound", {"planted": [96], "cured": [100], "free": [101]})

    assert what.name == CONTROL


def test_a_plant_that_costs_less_has_no_right_answer_where_data_costs_much() -> None:
    what = label("latency_bound", {"planted": [96], "cured": [100], "free": [200]})

    assert what.name == NEITHER


def test_a_control_that_waits_for_data_is_none() -> None:
    assert label("", {"planted": [97], "free": [100]}).name == CONTROL
    assert label("", {"planted": [80], "free": [100]}).name == NEITHER


def test_a_cure_that_harms_is_no_cause() -> None:
    what = label("cpu_saturated", {"planted": [100], "cured": [90], "free": [105]})

    assert what.plant_cost < 0
    assert what.name == CONTROL


def test_a_plan_is_applied_as_it_stands() -> None:
    plan = Plan(workers=6, prefetch=8, persistent=True, in_order=False, start_method="fork")
    mended = remedied(RUN, Remedy(change="num_workers=6", plan=plan))

    assert mended is not None
    assert (mended.workers, mended.prefetch, mended.persistent) == (6, 8, True)
    assert not mended.in_order


def test_a_plan_with_the_default_prefetching_is_the_run_that_leaves_it_unset() -> None:
    plan = Plan(workers=2, prefetch=2, start_method="fork")

    assert remedied(RUN, Remedy(change="num_workers=2", plan=plan)) == RUN


def test_a_plan_without_workers_has_no_prefetching() -> None:
    mended = remedied(RUN, Remedy(change="num_workers=0", plan=Plan(workers=0, prefetch=2)))

    assert mended is not None
    assert mended.prefetch is None


def test_remedies_that_are_lines_to_write_are_applied_as_they_are_written() -> None:
    rows = remedied(RUN, Remedy(change="DataLoader(d, sampler=BatchSampler(loader.sampler, 4))"))
    packed = remedied(RUN, Remedy(change="pack them in collate_fn: one tensor of all values"))
    larger = remedied(RUN, Remedy(change="batch_size=64 in the loader, split it in the loop"))

    assert rows is not None
    assert rows.by_rows
    assert packed is not None
    assert packed.collate == "pack"
    assert larger is not None
    assert (larger.batch_size, larger.split, larger.samples) == (64, 16, RUN.samples)


def test_a_remedy_that_cannot_be_applied_is_not() -> None:
    assert remedied(RUN, Remedy(change="make samples cheaper: resize once on disk")) is None
