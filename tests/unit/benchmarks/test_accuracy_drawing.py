"""Planted runs are drawn from a seed: the same ones again, others with another seed."""

import json
from dataclasses import asdict
from statistics import mean

import pytest
from planted.causes import CAUSES
from planted.controls import CONTROLS
from planted.drawing import LIMITED, SEVERITIES, SPREAD, Planted, Sizes, draw, drawn
from planted.recipe import dumped, parsed

from wellfed._insight.codes import CODES

MACHINE = Sizes(cores=4)


def rounds(number: int, seed: int = 1, machine: Sizes = MACHINE) -> list[Planted]:
    return list(drawn(seed, number, machine))


def test_the_same_seed_draws_the_same_runs() -> None:
    assert rounds(3) == rounds(3)


def test_a_run_does_not_depend_on_the_rounds_and_runs_around_it() -> None:
    third = [one for one in rounds(3) if one.key.startswith("2/")]

    assert list(draw(1, 2, MACHINE)) == third


def test_another_seed_draws_other_sizes() -> None:
    here, there = ({one.key: one.planted for one in rounds(1, seed)} for seed in (1, 2))
    planted = [key for key in here if key.partition("/")[2] in CAUSES]

    assert all(here[key] != there[key] for key in planted)


def test_only_causes_that_a_rule_knows_are_drawn() -> None:
    assert {one.cause for one in rounds(1)} - {""} == set(CAUSES) & set(CODES)


def test_five_rounds_plant_every_cause_at_every_severity() -> None:
    for cause in set(CAUSES) & set(CODES):
        severities = sorted(one.severity for one in rounds(5) if one.cause == cause)

        assert severities == pytest.approx(SEVERITIES, abs=SPREAD + 1e-3)


def test_five_rounds_hold_sixty_planted_runs_and_every_control() -> None:
    runs = rounds(5)
    controls = {one.key.partition("/")[2] for one in runs if not one.cause}

    assert sum(bool(one.cause) for one in runs) >= 60
    assert controls == set(CONTROLS)
    assert len(controls) >= 12


def test_no_run_is_drawn_twice() -> None:
    keys = [one.key for one in rounds(5)]

    assert len(set(keys)) == len(keys)


def test_a_cure_changes_the_run_and_a_control_has_none() -> None:
    for one in rounds(5):
        assert (one.cured is None) is (one.cause == "")
        assert one.cured != one.planted


def test_a_cure_keeps_the_step_so_that_only_the_loader_differs() -> None:
    for one in rounds(5):
        if one.cured is not None:
            assert one.cured.step_s == one.planted.step_s
            assert one.cured.samples == one.planted.samples


def test_runs_that_need_a_control_group_are_left_out_where_none_can_be_made() -> None:
    runs = rounds(5, machine=Sizes(cores=4, may_limit=False))

    assert {one.cause for one in runs}.isdisjoint(LIMITED)
    assert not any(one.planted.quota_cores or one.planted.disk_bytes_per_s for one in runs)


def test_one_core_can_be_drawn_for_too() -> None:
    runs = rounds(5, machine=Sizes(cores=1))

    assert all(one.planted.step_s >= 0 for one in runs)


def test_a_larger_share_to_lose_leaves_a_shorter_step() -> None:
    mild, heavy = (
        mean(
            run.planted.step_s
            for number in range(40)
            for run in draw(number, 0 if low else 3, MACHINE)
            if run.cause == "cpu_saturated" and (run.severity < 0.5) is low
        )
        for low in (True, False)
    )

    assert heavy < mild


def test_a_recipe_comes_back_from_its_text() -> None:
    for one in rounds(1):
        assert parsed(dumped(one.planted)) == one.planted
        assert json.loads(dumped(one.planted)) == json.loads(json.dumps(asdict(one.planted)))
