"""What is sent where and delivered when, told as short stories of events."""

from typing import Any

import pytest

from wellfed._engine.flow import Deliver, End, Flow, Mode, Send, Wait


def flow(added: int = 0, **options: Any) -> Flow:
    """A flow of two workers and a window of four, with so many batches read."""
    made = Flow(**{"workers": 2, "window": 4, **options})
    for _ in range(added):
        made.add()
    return made


def sent(of: Flow) -> list[tuple[int, int]]:
    """Number and home of what is sent now."""
    sends = [(one.number, one.home) for one in of.sends()]
    of.check()
    return sends


def arrive(of: Flow, *numbers: int) -> None:
    for number in numbers:
        assert of.arrived(number, 0, f"batch {number}")
        of.check()


def delivered(of: Flow) -> list[int]:
    """Numbers of all that can be delivered now."""
    numbers = []
    while isinstance(step := of.next(), Deliver):
        numbers.append(step.number)
        of.check()
    return numbers


# -- batches that stay at home


def test_batches_go_to_the_logical_workers_in_turn() -> None:
    assert sent(flow(4)) == [(0, 0), (1, 1), (2, 0), (3, 1)]


def test_batches_are_delivered_in_order_whatever_order_they_arrive_in() -> None:
    of = flow(4)
    of.sends()

    seen = []
    for number in (2, 1, 0, 3):
        arrive(of, number)
        seen.append(delivered(of))

    assert seen == [[], [], [0, 1, 2], [3]]


def test_batches_are_delivered_as_they_arrive_where_order_is_waived() -> None:
    of = flow(4, in_order=False)
    of.sends()

    seen = []
    for number in (2, 1, 0, 3):
        arrive(of, number)
        seen.append(delivered(of))

    assert seen == [[2], [1], [0], [3]]


def test_what_arrived_is_handed_over_with_its_batch() -> None:
    of = flow(1)
    of.sends()
    of.arrived(0, 0, "what came")

    assert of.next() == Deliver(0, 0, ("what came",))


def test_waits_while_batches_are_out_and_ends_after_the_last() -> None:
    of = flow(1)
    of.sends()
    before = of.next()
    of.no_more()
    arrive(of, 0)
    of.next()

    assert isinstance(before, Wait)
    assert isinstance(of.next(), End)


def test_waits_rather_than_ends_while_the_sampler_may_have_more() -> None:
    assert isinstance(flow().next(), Wait)


def test_an_empty_epoch_ends_at_once() -> None:
    of = flow()
    of.no_more()

    assert isinstance(of.next(), End)


def test_a_batch_that_comes_twice_is_wanted_once() -> None:
    of = flow(2)
    of.sends()

    assert of.arrived(1, 0, "first")
    assert not of.arrived(1, 0, "again")
    arrive(of, 0)
    assert delivered(of) == [0, 1]
    assert not of.arrived(1, 0, "late")


def test_a_batch_that_was_never_sent_is_not_wanted() -> None:
    of = flow(1)

    assert not of.arrived(0, 0, "early")
    assert not of.arrived(7, 0, "unknown")
    assert of.refused(0) == []
    of.check()


# -- how much may be out


def test_no_more_than_most_are_sent_and_the_rest_follows_as_they_are_delivered() -> None:
    of = flow(4)
    of.most = 2

    first = sent(of)
    arrive(of, 0)
    ready = sent(of)
    delivered(of)
    then = sent(of)

    assert (first, ready, then) == ([(0, 0), (1, 1)], [], [(2, 0)])


def test_one_batch_at_a_time_is_made_where_there_is_room_for_none() -> None:
    of = flow(3)
    of.most = 0

    seen = []
    for number in range(3):
        seen += sent(of)
        arrive(of, number)
        assert delivered(of) == [number]

    assert seen == [(0, 0), (1, 1), (2, 0)]


def test_the_batch_that_is_due_is_made_again_where_later_ones_take_all_the_room() -> None:
    of = flow(3, mode=Mode.FREE)
    of.sends()
    of.most = 1
    arrive(of, 0)
    assert delivered(of) == [0]

    of.refused(1)
    arrive(of, 2)

    assert sent(of) == [(1, 1)]
    arrive(of, 1)
    assert delivered(of) == [1, 2]


def test_undelivered_batches_are_counted_from_reading_to_delivery() -> None:
    of = flow(3)
    of.sends()
    counts = [of.undelivered]
    arrive(of, 0)
    counts.append(of.undelivered)
    delivered(of)
    counts.append(of.undelivered)

    assert counts == [3, 3, 2]


# -- a trial as a whole


def test_a_first_batch_that_passes_a_trial_at_home_sets_the_others_free() -> None:
    of = flow(2, mode=Mode.TRYING)

    first = of.sends()
    arrive(of, 0)
    of.add()

    assert first == [Send(0, 0, trial=True), Send(1, 1, trial=True)]
    assert of.mode is Mode.FREE
    assert of.sends() == [Send(2, 0, anywhere=True)]


def test_a_trial_that_finds_something_sends_nothing_until_all_are_back() -> None:
    of = flow(2, mode=Mode.TRYING)
    of.sends()
    of.stay()
    arrive(of, 0)
    of.add()

    while_out = sent(of)
    arrive(of, 1)
    after = of.sends()

    assert while_out == []
    assert after == [Send(2, 0)]
    assert of.mode is Mode.FIXED
    assert delivered(of) == [0, 1]


# -- a trial in parts


def trial_in_parts(parts: int = 2) -> Flow:
    of = flow(4, mode=Mode.TRYING)
    of.split = parts
    return of


def test_a_trial_in_parts_is_all_that_is_sent() -> None:
    of = trial_in_parts()

    assert of.sends() == [Send(0, 0, part, 2, anywhere=True, trial=True) for part in (0, 1)]
    assert of.sends() == []
    of.check()


def test_parts_that_pass_make_a_batch_in_their_order_and_set_the_others_free() -> None:
    of = trial_in_parts()
    of.sends()
    of.arrived(0, 1, "second")
    half = of.next()
    of.arrived(0, 0, "first")

    assert isinstance(half, Wait)
    assert of.mode is Mode.FREE
    assert [one.anywhere for one in of.sends()] == [True, True, True]
    assert of.next() == Deliver(0, 0, ("first", "second"))
    of.check()


@pytest.mark.parametrize("refused_last", [True, False])
def test_a_refused_part_has_the_whole_batch_made_again_at_home_before_the_others(
    refused_last: bool,
) -> None:
    of = trial_in_parts()
    of.sends()
    given_back: list[Any] = []
    if refused_last:
        assert of.arrived(0, 0, "first")
        given_back += of.refused(0)
        while_out: list[tuple[int, int]] = []
    else:
        given_back += of.refused(0)
        while_out = sent(of)
        # A part of a refused batch is no longer wanted, and comes in all the same.
        assert not of.arrived(0, 0, "first")

    assert given_back == (["first"] if refused_last else [])
    assert while_out == []
    assert sent(of) == [(0, 0), (1, 1), (2, 0), (3, 1)]
    assert of.mode is Mode.FIXED
    arrive(of, 0, 1, 2, 3)
    assert delivered(of) == [0, 1, 2, 3]


def test_a_trial_in_one_part_is_waited_for() -> None:
    of = trial_in_parts(1)

    assert of.sends() == [Send(0, 0, anywhere=True, trial=True)]
    assert of.sends() == []
    arrive(of, 0)
    assert of.mode is Mode.FREE


def test_every_part_may_be_refused() -> None:
    of = trial_in_parts(3)
    of.sends()

    assert [of.refused(0) for _ in range(3)] == [[], [], []]
    assert sent(of)[0] == (0, 0)


def test_parts_that_do_not_fit_together_are_made_again_as_a_whole_at_home() -> None:
    of = trial_in_parts()
    of.sends()
    of.arrived(0, 0, "one shape")
    of.arrived(0, 1, "another")
    of.sends()
    batch = of.next()
    assert isinstance(batch, Deliver)
    of.unmake(batch)
    of.check()

    while_out = sent(of)
    arrive(of, 1, 2, 3)
    again = of.sends()

    assert while_out == []
    assert again == [Send(0, 0)]
    assert isinstance(of.next(), Wait)
    arrive(of, 0)
    assert delivered(of) == [0, 1, 2, 3]


# -- refusals of free batches


def test_a_refused_batch_is_made_at_home_before_any_later_one() -> None:
    of = flow(4, mode=Mode.FREE)
    of.most = 3
    of.sends()
    of.refused(1)
    of.check()

    while_out = [sent(of)]
    arrive(of, 2)
    while_out.append(sent(of))
    arrive(of, 0)

    assert while_out == [[], []]
    assert delivered(of) == [0]
    assert sent(of) == [(1, 1), (3, 1)]


def test_two_refused_batches_of_a_home_are_made_again_in_order() -> None:
    of = flow(4, mode=Mode.FREE)
    of.sends()
    for number in (3, 1, 0, 2):
        of.refused(number)
        of.check()

    assert sent(of) == [(0, 0), (1, 1), (2, 0), (3, 1)]


def test_a_refused_batch_is_delivered_in_order_of_arrival_where_order_is_waived() -> None:
    of = flow(3, mode=Mode.FREE, in_order=False)
    of.sends()
    of.refused(0)
    arrive(of, 2, 1)

    assert delivered(of) == [2, 1]
    assert sent(of) == [(0, 0)]
    arrive(of, 0)
    assert delivered(of) == [0]


def test_staying_is_for_good() -> None:
    of = flow(1)
    of.stay()

    assert of.mode is Mode.FIXED


# -- workers that have no more


def test_an_exhausted_workers_later_batches_are_passed_over() -> None:
    of = flow(4)
    of.sends()
    of.exhausted(0, 0)
    of.check()
    arrive(of, 1, 3)

    assert delivered(of) == [1, 3]


def test_the_turn_passes_an_exhausted_worker_over() -> None:
    of = flow(2, workers=3, window=6)
    of.sends()
    of.exhausted(1, 1)
    for _ in range(4):
        of.add()

    assert sent(of) == [(2, 2), (3, 0), (4, 2), (5, 0)]


def test_what_an_exhausted_worker_has_made_is_delivered() -> None:
    of = flow(4)
    of.sends()
    arrive(of, 0)
    of.exhausted(0, 2)
    arrive(of, 1, 3)

    assert delivered(of) == [0, 1, 3]


def test_batches_that_wait_for_an_exhausted_worker_are_passed_over() -> None:
    of = flow(4)
    of.most = 1
    of.sends()
    of.exhausted(0, 0)
    of.check()

    assert sent(of) == [(1, 1)]


def test_late_news_from_an_exhausted_worker_is_not_wanted() -> None:
    of = flow(4)
    of.sends()
    of.exhausted(0, 0)
    of.exhausted(0, 2)

    assert not of.arrived(2, 0, "late")
    assert of.refused(2) == []


def test_an_index_that_is_read_after_all_are_exhausted_is_lost() -> None:
    of = flow(2)
    of.sends()
    of.exhausted(0, 0)
    of.exhausted(1, 1)

    assert of.add() is None
    assert isinstance(of.next(), End)
    of.check()


def test_says_which_batches_a_home_has_not_given_back() -> None:
    of = flow(4)
    of.most = 3
    of.sends()
    arrive(of, 0)

    assert (of.out_of(0), of.out_of(1), of.out) == ([2], [1], 2)


# -- a window of another size


def read_after(of: Flow, delivered: int) -> list[int]:
    """How many indices are read in return for each of the next deliveries."""
    counts = []
    for _ in range(delivered):
        counts.append(of.reads())
        of.check()
    return counts


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((4,), [1, 1, 1, 1]),
        ((7,), [4, 1, 1, 1]),
        ((2,), [0, 0, 1, 1]),
        ((2, 4), [1, 1, 1, 1]),
        ((1, 6), [3, 1, 1, 1]),
        ((6, 1), [0, 0, 0, 1]),
    ],
)
def test_reads_make_up_for_a_window_that_changed(
    sizes: tuple[int, ...], expected: list[int]
) -> None:
    of = flow(4)
    for size in sizes:
        of.resize(size)

    assert read_after(of, 4) == expected


def test_a_window_that_grows_may_be_filled_at_once() -> None:
    of = flow(4)
    of.sends()
    of.resize(6)
    for _ in range(2):
        of.add()

    assert sent(of) == [(4, 0), (5, 1)]


def test_a_limit_below_the_window_stays_when_that_changes() -> None:
    of = flow()
    of.most = 3
    of.resize(8)
    kept = of.most
    of.resize(2)

    assert (kept, of.most) == (3, 2)


@pytest.mark.parametrize("mode", [Mode.TRYING, Mode.FIXED, Mode.SETTLING])
def test_processes_stay_until_batches_may_move(mode: Mode) -> None:
    assert not flow(2, mode=mode).rootless


def test_processes_stay_while_a_batch_is_out_at_its_home() -> None:
    of = flow(2, mode=Mode.TRYING)
    of.sends()
    arrive(of, 0)
    while_out = of.mode, of.rootless
    arrive(of, 1)

    assert (while_out, of.rootless) == ((Mode.FREE, False), True)
