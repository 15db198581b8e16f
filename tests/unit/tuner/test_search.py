"""The search finds the best plan in few trials, on machines that the model is wrong about."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import World, computing, in_memory, plans, uneven, waiting

from wellfed._tuner.readings import Reading
from wellfed._tuner.search import MOST_PLANS, Ask, Stop, ask, best_of
from wellfed.records import Plan

NONE = Plan()


def workers(count: int, prefetch: int = 2) -> Plan:
    return Plan(workers=count, prefetch=prefetch, start_method="fork")


def exact(plan: Plan) -> float:
    del plan
    return 1.0


WORLDS = {
    "computing": computing(0.040, 0.002, cores=4),
    "waiting": waiting(0.080, 0.004),
    "uneven": uneven(0.030, 0.002, cores=4),
    "in memory": in_memory(0.0004, 0.0012),
    "consumer": computing(0.010, 0.050, cores=4),
}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("present", [NONE, workers(2), workers(16, 4)])
def test_it_finds_the_best_where_the_model_is_right(name: str, present: Plan) -> None:
    world = World(WORLDS[name], exact, present)

    stop, readings = world.search()

    assert world.truth(stop.best) <= 1.03 * world.fastest
    assert len({one.plan for one in readings}) <= MOST_PLANS


@given(
    name=st.sampled_from(sorted(WORLDS)),
    present=st.sampled_from(plans()),
    seed=st.integers(0, 10_000),
    slope=st.floats(-0.25, 0.25),
    noise=st.floats(0.0, 0.02),
)
@settings(max_examples=300, deadline=None)
def test_it_ends_and_never_answers_worse_than_the_present_plan(
    name: str, present: Plan, seed: int, slope: float, noise: float
) -> None:
    """The model misses by up to a quarter, in a way that grows with the workers."""
    world = World(
        WORLDS[name],
        lambda plan: 1 + slope * min(1.0, plan.workers / 8),
        present,
        noise=noise,
        random=Random(seed),
    )

    stop, readings = world.search()

    assert stop.best in {one.plan for one in readings}
    assert len({one.plan for one in readings}) <= MOST_PLANS
    assert world.truth(stop.best) <= world.truth(present) * 1.06


def test_over_many_wrong_models_the_answer_is_nearly_the_best() -> None:
    regrets = []
    for name in WORLDS:
        for seed in range(40):
            random = Random(seed)
            slope = random.uniform(-0.2, 0.2)
            world = World(
                WORLDS[name],
                lambda plan, slope=slope: 1 + slope * min(1.0, plan.workers / 8),  # type: ignore[misc]
                random.choice(plans()),
                random=random,
            )
            stop, _ = world.search()
            regrets.append(world.truth(stop.best) / world.fastest - 1)
    regrets.sort()

    assert regrets[len(regrets) // 2] <= 0.02
    assert regrets[int(0.95 * len(regrets))] <= 0.08


def test_where_the_step_is_the_limit_workers_are_given_back() -> None:
    world = World(WORLDS["consumer"], exact, workers(8))

    stop, _ = world.search()

    assert stop.best.workers == 1


def test_memory_decides_between_plans_of_as_many_workers() -> None:
    world = World(waiting(0.080, 0.001), exact, workers(16, 8), noise=0.0)

    stop, readings = world.search()

    assert stop.best.workers == 16
    tried = [one.plan for one in readings if one.plan.workers == 16]
    assert stop.best.prefetch == min(plan.prefetch or 0 for plan in tried)


def test_a_plan_that_fails_is_not_tried_again_and_does_not_win() -> None:
    world = World(WORLDS["computing"], exact, NONE)
    space, readings = world.space(), list[Reading]()
    while not isinstance(step := ask(space, readings), Stop):
        failed = "no memory" if step.plan.workers > 2 else ""
        seconds = 0.0 if failed else world.truth(step.plan)
        readings.append(Reading(plan=step.plan, seconds=seconds, error=0.01, failed=failed))

    broken = [one.plan for one in readings if one.failed]
    assert len(broken) == len(set(broken)) > 0
    assert step.best.workers <= 2


def test_a_present_plan_that_does_not_run_ends_it() -> None:
    space = World(WORLDS["computing"], exact, NONE).space()

    step = ask(space, [Reading(plan=NONE, failed="it raised")])

    assert step == Stop(best=NONE, why="the present plan does not run in a trial")


def test_the_present_plan_is_measured_first_and_the_far_end_once() -> None:
    world = World(WORLDS["computing"], exact, workers(1))

    stop, readings = world.search()

    assert readings[0].plan == workers(1)
    assert any(one.plan.workers > world.cores for one in readings)
    assert isinstance(ask(world.space(), []), Ask)
    assert best_of(world.space(), readings) == stop.best
    assert best_of(world.space(), []) == workers(1)


def test_close_plans_are_run_in_turn() -> None:
    world = World(WORLDS["consumer"], exact, workers(2), noise=0.03, random=Random(3))

    _, readings = world.search()

    order = [one.plan for one in readings]
    again = [plan for place, plan in enumerate(order) if plan in order[:place]]
    turns = order[order.index(again[0], order.index(again[0]) + 1) :]
    assert again
    assert all(one != after for one, after in pairwise(turns))
