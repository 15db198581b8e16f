"""What the live controller does about a plan, in worlds whose answer is known."""

from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from wellfed._tuner.controller import AT_ONCE, EVERY_S, Decision, Keep, State, Switch, Undo, step
from wellfed._tuner.window import Bounds, Window
from wellfed.records import Plan
from wellfed.records._record import Record

BOUNDS = Bounds(cpus=8, most_workers=16)


class World(Record, frozen=True, kw_only=True):
    """A dataset, a step and a machine."""

    fetch_s: float = 0.04
    on_cpu: float = 1.0
    gap_s: float = 0.01
    cpus: int = 8
    step_slower: float = 0.0
    """By how much a step takes longer for each worker."""
    crowded: bool = False
    """Whether workers past the cores take from each other, so that each batch takes longer."""
    hop_s: float = 0.0
    """What handing over takes, of a batch that is not made in place."""
    window_s: float = 1.0
    left_s: float | None = 1_000.0

    def window(self, plan: Plan, **more: Any) -> Window:
        """What is seen under this plan."""
        gap_s = self.gap_s * (1 + self.step_slower * plan.workers)
        if not plan.workers:
            return self._seen(gap_s, gap_s + self.fetch_s, None, more)
        side_by_side = plan.workers * max(1, plan.threads)
        supply_s = max(self.fetch_s / side_by_side, self.fetch_s * self.on_cpu / self.cpus)
        period_s = max(gap_s + self.hop_s, supply_s)
        if self.crowded:
            fetch_s = self.fetch_s * max(1.0, plan.workers * self.on_cpu / self.cpus)
            more = {"fetch_s": fetch_s, **more}
        return self._seen(gap_s, period_s, min(1.0, supply_s / period_s), more)

    def _seen(
        self, gap_s: float, period_s: float, busy_share: float | None, more: dict[str, Any]
    ) -> Window:
        batches = max(1, round(self.window_s / period_s))
        seen = {
            "batches": batches,
            "seconds": batches * period_s,
            "wait_s": batches * (period_s - gap_s),
            "gap_s": gap_s,
            "fetch_s": self.fetch_s,
            "cpu_s": self.fetch_s * self.on_cpu,
            "busy_share": busy_share,
            "left_s": self.left_s,
        }
        return Window(**{**seen, **more})


def plan(workers: int, **more: Any) -> Plan:
    return Plan(backend="processes", workers=workers, prefetch=2, **more)


def begun(workers: int = 1, **bounds: Any) -> State:
    return State(plan=plan(workers), bounds=replace(BOUNDS, **bounds))


def run(state: State, world: World, windows: int, **more: Any) -> tuple[State, list[Decision]]:
    """So many windows of a world; what was decided at each."""
    decisions = []
    for _ in range(windows):
        state, decision = step(state, world.window(state.plan, **more))
        decisions.append(decision)
    return state, decisions


def changes(decisions: list[Decision]) -> list[Decision]:
    return [one for one in decisions if not isinstance(one, Keep)]


@pytest.mark.parametrize(("gap_s", "expected"), [(0.02, 3), (0.01, 5), (0.006, 8)])
def test_from_one_worker_it_finds_what_the_step_asks_for(gap_s: float, expected: int) -> None:
    state, decisions = run(begun(), World(gap_s=gap_s), 30)

    assert state.plan.workers == pytest.approx(expected, abs=1)
    assert all(isinstance(one, Switch) for one in changes(decisions))


def test_it_gets_there_within_half_a_minute() -> None:
    world = World(gap_s=0.0001, fetch_s=0.1, on_cpu=0.0)

    state, _ = run(begun(), world, 30)

    assert state.plan.workers == 16


@pytest.mark.parametrize("workers", [1, 4, 16])
@pytest.mark.parametrize("gap_s", [0.0, 0.003, 0.02, 0.2])
@pytest.mark.parametrize("on_cpu", [0.1, 1.0])
@pytest.mark.parametrize("slower", [0.0, 0.1])
def test_constant_input_comes_to_an_end(
    workers: int, gap_s: float, on_cpu: float, slower: float
) -> None:
    world = World(gap_s=gap_s, on_cpu=on_cpu, step_slower=slower)

    state, first = run(begun(workers), world, 120)
    _, later = run(state, world, 200)

    assert len(changes(first)) <= AT_ONCE + 2 + AT_ONCE
    assert changes(later) == []


def test_what_does_not_help_is_undone_and_not_tried_again() -> None:
    state = begun(2)
    seen = World(gap_s=0.01).window(plan(2))
    decisions: list[Decision] = []
    for _ in range(60):
        state, decision = step(state, seen)  # whatever the plan
        decisions.append(decision)

    switch, undo = changes(decisions)
    assert isinstance(switch, Switch)
    assert isinstance(undo, Undo)
    assert undo.plan == plan(2) == state.plan
    assert undo.why == "it did not help: 20 ms from batch to batch, 20 ms before"


def test_a_slower_step_undoes_what_shortened_the_wait() -> None:
    world = World(gap_s=0.01, fetch_s=0.03)
    state, decisions = run(begun(2), world, 2)
    assert isinstance(decisions[-1], Switch)

    slow = replace(world, gap_s=0.0149)
    state, decisions = run(state, slow, 2)

    assert isinstance(decisions[-1], Undo)
    assert decisions[-1].why.startswith("the step became slower, 15 ms and not 10 ms")
    assert state.plan == plan(2)


def test_what_was_in_vain_is_tried_again_once_the_work_has_changed() -> None:
    crowded = World(gap_s=0.01, cpus=1)
    state, _ = run(begun(2), crowded, 60)
    assert state.plan == plan(2)

    state, decisions = run(state, replace(crowded, fetch_s=0.2, cpus=8), 30)

    assert state.plan.workers == 8
    assert isinstance(changes(decisions)[0], Switch)


def test_workers_are_given_back_when_the_step_sets_the_pace() -> None:
    state, decisions = run(begun(8), World(gap_s=0.05), 30)

    assert state.plan.workers == 2
    assert [one.why for one in changes(decisions) if isinstance(one, Switch)] == [
        "the step sets the pace, and workers are busy 10% of their time"
    ]


def test_workers_that_were_missed_come_back() -> None:
    world = World(gap_s=0.02)
    state, decisions = run(begun(4), world, 4)
    assert isinstance(decisions[-1], Switch)
    assert state.plan.workers == 3

    _, decisions = run(state, replace(world, fetch_s=0.08), 2)

    assert decisions[-1] == Undo(plan=plan(4), why="25% of the time was spent waiting")


@pytest.mark.parametrize("left_s", [0.3, 1.0])
def test_nothing_is_changed_in_an_epoch_that_ends_soon(left_s: float) -> None:
    _, decisions = run(begun(), World(left_s=left_s), 60)

    assert decisions == [Keep()] * 60


def test_an_epoch_of_unknown_length_is_taken_to_go_on_as_long_as_it_has() -> None:
    _, decisions = run(begun(), World(left_s=None), 4)

    assert [type(one) for one in decisions] == [Keep, Keep, Switch, Keep]


def test_memory_comes_first() -> None:
    state = begun(8)

    state, decision = step(state, World().window(plan(8), room_workers=3))

    assert decision == Switch(plan=plan(3), why="memory has room for 3 workers")
    state, decisions = run(state, World(gap_s=0.0001), 60)
    assert state.plan.workers == 3
    assert changes(decisions) == []


def test_an_undo_does_not_go_beyond_what_memory_has_room_for() -> None:
    state = begun(4)
    world = World(gap_s=0.02)
    state, _ = run(state, world, 4)

    state, decision = step(state, replace(world, fetch_s=0.2).window(state.plan, room_workers=3))
    state, decision = step(state, replace(world, fetch_s=0.2).window(state.plan, room_workers=3))

    assert isinstance(decision, Undo)
    assert decision.plan == plan(3)


def test_with_consent_threads_wait_for_data() -> None:
    state, decisions = run(begun(2, most_threads=64), World(gap_s=0.001, on_cpu=0.05), 30)

    assert changes(decisions)[0].plan == plan(2, threads=20)  # type: ignore[union-attr]
    assert state.plan.threads == 20


def test_batches_that_vary_are_read_further_ahead() -> None:
    seen = World().window(plan(4), busy_share=0.5, wait_s=0.3)
    state, _ = step(begun(4), seen)
    state, decision = step(state, seen)

    assert decision == Switch(
        plan=replace(plan(4), prefetch=4),
        why="30% of the time is spent waiting, while workers are busy 50% of theirs: batches vary",
    )


OUT_OF_REACH: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "fixed": (
        {"why_fixed": "a sample draws"},
        {},
        "75% of the time is spent waiting, but the number of workers stays: a sample draws",
    ),
    "cpus": (
        {"cpus": 1, "most_workers": 16},
        {},
        "75% of the time is spent waiting, but 1 workers are the most for this rank's CPUs and "
        "memory",
    ),
    "throttled": (
        {},
        {"throttled_share": 0.4},
        "75% of the time is spent waiting, but the CPU quota runs out in 40% of the periods",
    ),
    "pressed": (
        {},
        {"pressure_share": 0.8},
        "75% of the time is spent waiting, but tasks wait for a CPU 80% of the time",
    ),
}


@pytest.mark.parametrize("case", OUT_OF_REACH)
def test_what_is_out_of_reach_is_said(case: str) -> None:
    bounds, seen, expected = OUT_OF_REACH[case]

    _, decisions = run(begun(**bounds), World(), 4, **seen)

    assert decisions == [Keep(), *[Keep(why=expected)] * 3]


# -- in the trainer's process, or not

INLINE = Plan(backend="inline")
EITHER = replace(BOUNDS, backends=("inline", "processes"), inline_s=0.0003)


def test_batches_that_turn_out_to_take_long_get_workers() -> None:
    state, decisions = run(State(plan=INLINE, bounds=EITHER), World(fetch_s=0.04, gap_s=0.01), 30)

    first, *_ = changes(decisions)
    assert state.plan.backend == "processes"
    assert state.plan.workers == 5
    assert first.why == "80% of the time is spent waiting; a batch takes the trainer 40 ms"


def test_batches_that_turn_out_to_cost_nothing_are_made_in_place() -> None:
    world = World(fetch_s=0.00005, gap_s=0.0002, hop_s=0.0002)

    state, decisions = run(State(plan=plan(2), bounds=EITHER), world, 30)

    (only,) = changes(decisions)
    assert state.plan.backend == "inline"
    assert only.why.endswith("and making a batch takes only 50 µs")


@pytest.mark.parametrize("fetch_s", [0.0001, 0.0002, 0.0004, 0.002])
@pytest.mark.parametrize("gap_s", [0.0, 0.0002, 0.001, 0.01])
@pytest.mark.parametrize("workers", [0, 1, 4])
def test_between_the_two_there_is_no_end_of_neither(
    fetch_s: float, gap_s: float, workers: int
) -> None:
    start = plan(workers) if workers else INLINE
    world = World(fetch_s=fetch_s, gap_s=gap_s, hop_s=0.0002)

    state, first = run(State(plan=start, bounds=EITHER), world, 120)
    _, later = run(state, world, 200)

    backends = [one.plan.backend for one in first if not isinstance(one, Keep)]
    assert len([name for name, after in pairwise(backends) if name != after]) <= 2
    assert changes(later) == []


def test_workers_that_would_gain_nothing_are_not_started() -> None:
    world = World(fetch_s=0.0001, gap_s=0.00001)

    state, decisions = run(State(plan=INLINE, bounds=EITHER), world, 60)

    assert changes(decisions) == []
    assert state.plan == INLINE


def test_what_may_not_move_stays() -> None:
    _, decisions = run(State(plan=INLINE, bounds=BOUNDS), World(), 60)

    assert changes(decisions) == []


# -- the work changes


def test_after_a_drift_it_gets_there_as_soon_as_at_first() -> None:
    world = World(fetch_s=0.02, gap_s=0.004, on_cpu=0.0)
    state, _ = run(begun(), world, 40)
    reached = state.plan.workers

    # As many switches as there may be have been made by then.
    state, after = run(replace(state, allowed=0.0), replace(world, fetch_s=0.06), 30)

    assert state.plan.workers == pytest.approx(min(16, 3 * reached), abs=1)
    assert changes(after)


def test_work_that_changes_all_the_time_is_not_followed_all_the_time() -> None:
    state = begun(4)
    decisions: list[Decision] = []
    for number in range(1_200):
        world = World(gap_s=0.001, fetch_s=0.02 if number % 4 < 2 else 0.2)
        state, one = run(state, world, 1)
        decisions += one

    minutes = 1_200 / EVERY_S
    assert len(changes(decisions)) <= 2 * (AT_ONCE + (AT_ONCE + 1) * minutes)


@pytest.mark.parametrize("gap_s", [0.001, 0.006])
def test_workers_that_slow_each_other_down_are_no_drift(gap_s: float) -> None:
    world = World(fetch_s=0.04, gap_s=gap_s, cpus=2, crowded=True)

    state, _ = run(begun(1, cpus=4), world, 120)
    _, later = run(state, world, 600)

    assert changes(later) == []


def test_quick_batches_that_vary_are_no_drift() -> None:
    """A tenth of the time is waited, whatever the plan; a batch takes a worker next to nothing."""
    state, decisions = begun(2), list[Decision]()
    for number in range(200):
        fetch_s = 0.0003 if number % 2 else 0.0006
        seen = World(gap_s=0.0045).window(plan(2), fetch_s=fetch_s, busy_share=0.2, wait_s=0.1)
        state, decision = step(state, seen)
        decisions.append(decision)

    assert len(changes(decisions)) <= 2
