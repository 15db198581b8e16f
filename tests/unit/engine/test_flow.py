"""The flow decides which batch is made where and delivered next, told by little stories."""

from typing import Any

import pytest

from wellfed._engine.flow import Deliver, End, Flow, Mode, Send, Wait


def flow_of(batches: int, *, mode: Mode = Mode.FIXED, **settings: Any) -> Flow:
    flow = Flow(**{"workers": 2, "window": 4, **settings}, mode=mode)
    for _ in range(batches):
        flow.add()
    flow.no_more()
    return flow


def delivered(flow: Flow) -> list[int]:
    """Numbers of the batches that can be handed over now."""
    numbers = []
    while isinstance(step := flow.next(), Deliver):
        numbers.append(step.number)
    return numbers


def test_batches_go_to_their_homes_in_turn() -> None:
    flow = flow_of(4)

    assert flow.sends() == [Send(number, number % 2) for number in range(4)]
    assert flow.sends() == []


def test_a_late_batch_holds_the_later_ones_back() -> None:
    flow = flow_of(3)
    flow.sends()
    flow.arrived(1, 0, "one")
    flow.arrived(2, 0, "two")

    assert isinstance(flow.next(), Wait)

    flow.arrived(0, 0, "zero")

    assert delivered(flow) == [0, 1, 2]
    assert isinstance(flow.next(), End)


def test_without_order_what_comes_first_is_delivered_first() -> None:
    flow = flow_of(3, in_order=False)
    flow.sends()
    flow.arrived(2, 0, "two")
    flow.arrived(0, 0, "zero")

    assert delivered(flow) == [2, 0]


def test_no_more_is_out_than_memory_allows_but_always_one() -> None:
    flow = flow_of(4)
    flow.most = 2

    assert [send.number for send in flow.sends()] == [0, 1]

    flow.most = 0
    flow.arrived(0, 0, "zero")
    flow.arrived(1, 0, "one")

    assert delivered(flow) == [0, 1]
    assert [send.number for send in flow.sends()] == [2]


def trial_of(batches: int, parts: int = 2) -> Flow:
    flow = flow_of(batches, mode=Mode.TRYING)
    flow.split = parts
    return flow


def test_a_trial_is_made_in_parts_before_anything_else_is_sent() -> None:
    flow = trial_of(3)

    assert flow.sends() == [Send(0, 0, part, 2, anywhere=True, trial=True) for part in range(2)]
    assert flow.sends() == []

    flow.arrived(0, 1, "second half")

    assert flow.sends() == []

    flow.arrived(0, 0, "first half")

    assert flow.mode is Mode.FREE
    assert flow.sends() == [Send(1, 1, anywhere=True), Send(2, 0, anywhere=True)]
    assert flow.next() == Deliver(0, 0, ("first half", "second half"))


def test_a_trial_that_is_refused_is_made_again_by_its_home_before_all_others() -> None:
    flow = trial_of(3)
    flow.sends()
    flow.arrived(0, 0, "first half")

    assert flow.refused(0) == ["first half"]
    assert [flow.mode] == [Mode.SETTLING]
    assert flow.sends() == [Send(0, 0), Send(1, 1), Send(2, 0)]
    assert [flow.mode] == [Mode.FIXED]


def test_nothing_is_sent_while_the_other_part_of_a_refused_trial_is_out() -> None:
    flow = trial_of(2)
    flow.sends()
    flow.refused(0)

    assert flow.sends() == []
    assert flow.arrived(0, 1, "late half") is False
    assert [send.number for send in flow.sends()] == [0, 1]


def test_parts_that_do_not_join_are_made_again_as_a_whole() -> None:
    flow = trial_of(2)
    flow.sends()
    flow.arrived(0, 0, "a")
    flow.arrived(0, 1, "b")
    step = flow.next()
    assert isinstance(step, Deliver)

    flow.unmake(step)

    assert flow.sends()[0] == Send(0, 0)


def test_batches_that_were_free_come_home_in_order_once_one_of_them_is_refused() -> None:
    flow = trial_of(6, parts=2)
    flow.sends()
    flow.arrived(0, 0, "a")
    flow.arrived(0, 1, "b")
    flow.sends()
    flow.refused(3)

    assert flow.sends() == []

    flow.refused(1)
    flow.arrived(2, 0, "two")
    assert flow.sends() != [] or flow.out


def test_a_trial_that_is_not_split_is_its_homes_and_is_not_waited_for() -> None:
    flow = flow_of(3, mode=Mode.TRYING)

    assert flow.sends() == [Send(0, 0, trial=True), Send(1, 1), Send(2, 0)]

    flow.arrived(0, 0, "zero")

    assert flow.mode is Mode.FREE


def test_what_was_found_out_later_keeps_batches_at_home() -> None:
    flow = flow_of(3, mode=Mode.FREE)
    flow.sends()

    flow.stay()

    assert [flow.mode] == [Mode.SETTLING]
    for number in range(3):
        flow.arrived(number, 0, number)
    assert flow.sends() == []
    assert [flow.mode] == [Mode.FIXED]


@pytest.mark.parametrize("part", [0, 1])
def test_what_comes_twice_is_not_wanted(part: int) -> None:
    flow = flow_of(1)
    flow.sends()

    assert flow.arrived(0, 0, "once") is True
    assert flow.arrived(0, part, "twice") is False


def test_an_exhausted_workers_later_batches_are_passed_over() -> None:
    flow = flow_of(4)
    flow.sends()
    flow.arrived(0, 0, "zero")
    flow.exhausted(1, 1)
    flow.arrived(2, 0, "two")

    assert delivered(flow) == [0, 2]
    assert isinstance(flow.next(), End)


def test_new_batches_go_to_workers_that_are_not_exhausted() -> None:
    flow = Flow(workers=2, window=4)
    flow.add()
    flow.add()
    flow.exhausted(1, 1)

    assert [send.home for send in flow.sends()] == [0]
    assert flow.add() == 2
    assert [send.home for send in flow.sends()] == [0]


def test_an_epoch_ends_once_all_workers_are_exhausted() -> None:
    flow = Flow(workers=2, window=4)
    flow.add()
    flow.add()
    flow.sends()
    flow.exhausted(0, 0)
    flow.exhausted(1, 1)

    assert flow.add() is None
    assert isinstance(flow.next(), End)
