"""Little stories of batches: added, sent, come back, delivered."""

from typing import Any

import pytest

from wellfed._engine.flow import Deliver, End, Flow, Mode, Send, Wait


def flow_of(workers: int = 2, *, window: int = 4, read: int = 4, **how: Any) -> Flow:
    """A flow into which so many batches were read."""
    flow = Flow(workers=workers, window=window, **how)
    for _ in range(read):
        flow.add()
    return flow


def numbers(sends: list[Send]) -> list[int]:
    return [send.number for send in sends]


def delivered(flow: Flow) -> list[int]:
    """What can be delivered now."""
    came = []
    while isinstance(step := flow.next(), Deliver):
        came.append(step.number)
    flow.check()
    return came


def end_of(flow: Flow) -> bool:
    return isinstance(flow.next(), End)


# -- homes and order


def test_batch_k_lives_with_worker_k_mod_n() -> None:
    flow = flow_of(3, window=6, read=6)

    assert [(send.number, send.home) for send in flow.sends()] == [
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 0),
        (4, 1),
        (5, 2),
    ]


def test_batches_are_delivered_in_order_however_they_come() -> None:
    flow = flow_of()
    flow.sends()

    came = []
    for number in (3, 1, 0, 2):
        assert flow.arrived(number, 0, f"batch {number}")
        came += delivered(flow)

    assert came == [0, 1, 2, 3]


def test_with_order_waived_batches_are_delivered_as_they_come() -> None:
    flow = flow_of(in_order=False)
    flow.sends()

    came = []
    for number in (3, 1, 0, 2):
        flow.arrived(number, 0, None)
        came += delivered(flow)

    assert came == [3, 1, 0, 2]


def test_what_arrived_is_delivered_with_its_batch() -> None:
    flow = flow_of(read=1)
    flow.sends()
    flow.arrived(0, 0, "it")

    assert flow.next() == Deliver(0, 0, ("it",))


@pytest.mark.parametrize("mode", [Mode.FREE, Mode.FIXED])
def test_only_free_batches_are_sent_to_whoever_is_idle(mode: Mode) -> None:
    assert {send.anywhere for send in flow_of(mode=mode).sends()} == {mode is Mode.FREE}


# -- the end


def test_an_empty_epoch_ends_at_once() -> None:
    flow = flow_of(read=0)
    assert isinstance(flow.next(), Wait)

    flow.no_more()

    assert end_of(flow)


def test_the_epoch_ends_after_its_last_batch() -> None:
    flow = flow_of(read=1)
    flow.no_more()
    flow.sends()
    assert isinstance(flow.next(), Wait)

    flow.arrived(0, 0, None)

    assert delivered(flow) == [0]
    assert end_of(flow)


# -- room


def test_no_more_are_out_or_ready_than_memory_allows() -> None:
    flow = flow_of(window=4)
    flow.most = 2

    assert numbers(flow.sends()) == [0, 1]
    flow.arrived(0, 0, None)
    assert flow.sends() == []
    assert delivered(flow) == [0]
    assert numbers(flow.sends()) == [2]


def test_one_batch_is_sent_however_short_memory_is() -> None:
    flow = flow_of()
    flow.most = 0

    assert numbers(flow.sends()) == [0]
    assert flow.sends() == []


def test_what_is_sent_is_out_until_it_is_back() -> None:
    flow = flow_of()

    flow.sends()

    assert (flow.out, flow.undelivered) == (4, 4)
    assert flow.out_of(1) == [1, 3]
    flow.arrived(1, 0, None)
    assert (flow.out, flow.undelivered) == (3, 4)
    assert flow.out_of(1) == [3]


# -- the trial


def in_trial(parts: int = 2) -> Flow:
    flow = flow_of(mode=Mode.TRYING)
    flow.split = parts
    return flow


def test_a_trial_is_sent_in_parts_and_alone() -> None:
    flow = in_trial(3)

    assert flow.sends() == [Send(0, 0, part, 3, trial=True) for part in range(3)]
    assert flow.sends() == []


def test_a_trial_that_cannot_be_split_is_sent_home_with_the_others() -> None:
    flow = in_trial(1)

    assert flow.sends() == [Send(0, 0, trial=True), Send(1, 1), Send(2, 0), Send(3, 1)]


def test_after_a_trial_that_found_nothing_batches_move() -> None:
    flow = in_trial()
    flow.sends()

    flow.arrived(1, 0, "not out yet")
    flow.arrived(0, 1, "b")
    assert isinstance(flow.next(), Wait)
    flow.arrived(0, 0, "a")

    assert flow.mode is Mode.FREE
    assert flow.next() == Deliver(0, 0, ("a", "b"))
    assert [(send.number, send.anywhere) for send in flow.sends()] == [
        (1, True),
        (2, True),
        (3, True),
    ]


def test_a_refused_trial_is_made_again_at_home_before_all_others() -> None:
    flow = in_trial(3)
    flow.sends()

    flow.arrived(0, 0, "a")
    assert flow.refused(0) == ["a"]
    assert flow.sends() == []
    assert flow.refused(0) == []
    assert not flow.arrived(0, 1, "too late to be of use")
    flow.check()

    assert flow.sends() == [Send(0, 0), Send(1, 1), Send(2, 0), Send(3, 1)]
    assert flow.mode is Mode.FIXED


def test_a_batch_whose_parts_do_not_fit_is_made_again_at_home() -> None:
    flow = in_trial()
    flow.sends()
    flow.arrived(0, 0, "a")
    flow.arrived(0, 1, "b")
    batch = flow.next()
    assert isinstance(batch, Deliver)

    flow.unmake(batch)
    flow.check()

    assert flow.sends() == [Send(0, 0), Send(1, 1), Send(2, 0), Send(3, 1)]
    flow.arrived(0, 0, "whole")
    assert flow.next() == Deliver(0, 0, ("whole",))


# -- settling


def test_nothing_new_is_sent_until_what_is_out_has_come_back() -> None:
    flow = flow_of(read=6, window=4, mode=Mode.FREE)
    assert numbers(flow.sends()) == [0, 1, 2, 3]

    flow.arrived(0, 0, None)
    assert flow.refused(1) == []
    assert flow.mode is Mode.SETTLING
    assert delivered(flow) == [0]
    assert flow.sends() == []
    flow.arrived(3, 0, None)
    assert flow.sends() == []
    flow.refused(2)

    assert [(send.number, send.home, send.anywhere) for send in flow.sends()] == [
        (1, 1, False),
        (2, 0, False),
        (4, 0, False),
    ]
    assert flow.mode is Mode.FIXED


def test_batches_stay_where_word_comes_with_a_batch_that_is_good() -> None:
    flow = in_trial(1)
    flow.sends()

    flow.stay()
    flow.arrived(0, 0, "made at home")

    assert flow.mode is Mode.SETTLING
    assert delivered(flow) == [0]


def test_batches_that_stay_already_need_no_settling() -> None:
    flow = flow_of(mode=Mode.FIXED)
    flow.sends()

    flow.stay()

    assert flow.mode is Mode.FIXED


# -- workers whose iterable dataset has ended


def test_the_batches_of_an_exhausted_worker_are_passed_over() -> None:
    flow = flow_of()
    flow.sends()

    flow.arrived(0, 0, None)
    flow.exhausted(0, 2)
    flow.arrived(1, 0, None)
    flow.arrived(3, 0, None)

    assert delivered(flow) == [0, 1, 3]


def test_later_batches_live_with_the_workers_that_are_left() -> None:
    flow = flow_of(3, window=6, read=3)
    flow.sends()

    flow.exhausted(0, 0)
    for _ in range(3):
        flow.add()

    assert [(send.number, send.home) for send in flow.sends()] == [(3, 1), (4, 2), (5, 1)]


def test_batches_an_exhausted_worker_was_not_sent_are_never_sent() -> None:
    flow = flow_of()
    flow.most = 1
    assert numbers(flow.sends()) == [0]

    flow.exhausted(0, 0)

    assert numbers(flow.sends()) == [1]


def test_the_epoch_ends_when_all_workers_are_exhausted() -> None:
    flow = flow_of(read=2)
    flow.sends()

    flow.exhausted(1, 1)
    assert isinstance(flow.next(), Wait)
    flow.exhausted(0, 0)

    assert end_of(flow)
    assert flow.add() is None


def test_a_batch_that_came_before_its_worker_was_exhausted_is_delivered() -> None:
    flow = flow_of(1, window=3, read=3)
    flow.sends()

    flow.arrived(0, 0, None)
    flow.exhausted(0, 1)

    assert delivered(flow) == [0]
    assert end_of(flow)


# -- what nobody waits for


def test_a_batch_that_comes_twice_is_wanted_once() -> None:
    flow = flow_of()
    flow.sends()

    assert flow.arrived(0, 0, "first")
    assert not flow.arrived(0, 0, "again")
    assert delivered(flow) == [0]
    assert not flow.arrived(0, 0, "once more")
    assert flow.refused(0) == []
    flow.check()


def test_a_batch_that_was_not_sent_is_not_wanted() -> None:
    flow = flow_of()

    assert not flow.arrived(0, 0, "from the epoch before")
    assert not flow.arrived(17, 0, "never read")
    assert flow.refused(17) == []
    flow.check()


def test_a_passed_over_batch_is_not_wanted() -> None:
    flow = flow_of()
    flow.sends()
    flow.exhausted(0, 0)

    assert not flow.arrived(2, 0, "after all")
    assert delivered(flow) == []
