"""What is in flight and which source may go, told as short stories of events."""

import pytest

from wellfed._engine.inflight import InFlight


def taken(batches: int, most: int = 3) -> InFlight:
    of = InFlight(most)
    assert [of.take() for _ in range(batches)] == list(range(batches))
    of.check()
    return of


def test_there_is_room_for_as_many_as_were_asked_for() -> None:
    of = InFlight(2)
    room = [of.room]
    for _ in range(2):
        of.take()
        room.append(of.room)

    assert room == [True, True, False]


def test_a_batch_that_is_handed_over_makes_room() -> None:
    of = taken(2, most=2)
    of.arrived(0, marked=False)
    of.next()

    assert of.room
    assert of.undelivered == 1


def test_a_batch_is_handed_over_once_its_copy_is_there() -> None:
    of = taken(1)
    before = of.next()
    of.arrived(0, marked=False)

    assert before is None
    assert [of.next(), of.next()] == [0, None]


def test_order_is_that_of_taking_whatever_arrives_first() -> None:
    """A failure is there at once; copies take their time."""
    of = taken(3)
    seen: list[int | None] = []
    for number in (2, 1, 0):
        of.arrived(number, marked=False)
        seen.append(of.next())
    seen += [of.next(), of.next()]

    assert seen == [None, None, 0, 1, 2]


def test_a_source_is_free_with_its_copy_where_no_device_reads_it() -> None:
    of = taken(1)
    before = of.freed()
    of.arrived(0, marked=False)

    assert (before, of.freed(), of.freed()) == ([], [0], [])


def test_a_source_that_the_device_reads_is_free_when_it_has_done() -> None:
    of = taken(1)
    of.arrived(0, marked=True)
    handed = of.next()
    before = of.freed()
    of.done(0)

    assert (handed, before) == (0, [])
    assert of.freed() == [0]


def test_dropped_batches_are_not_handed_over_and_their_sources_are_freed_as_ever() -> None:
    of = taken(3)
    of.arrived(0, marked=True)
    of.arrived(1, marked=False)

    assert of.drop() == [0, 1]
    assert of.freed() == [1]
    assert of.arrived(2, marked=True) is False
    assert (of.room, of.undelivered, of.next()) == (True, 0, None)
    of.done(0)
    of.done(2)
    assert of.freed() == [0, 2]


def test_numbers_go_on_after_a_drop() -> None:
    of = taken(2)
    of.drop()
    number = of.take()
    of.arrived(1, marked=False)

    assert number == 2
    assert of.next() is None
    assert of.arrived(2, marked=False)
    assert of.next() == 2


@pytest.mark.parametrize("twice", [False, True])
def test_a_copy_that_was_not_asked_for_is_a_mistake(twice: bool) -> None:
    of = taken(1)
    if twice:
        of.arrived(0, marked=False)

    with pytest.raises(KeyError):
        of.arrived(0 if twice else 1, marked=False)
