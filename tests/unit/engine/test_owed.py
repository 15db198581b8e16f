"""What is made again when a worker dies, told as short stories of events."""

from typing import Any

import pytest

from wellfed._engine.board import key_of
from wellfed._engine.owed import Again, Dead, GiveUp, Owed
from wellfed._engine.wire import Record, Task


def task(number: int, *, moved: bool = True, **fields: Any) -> Task:
    usual = Task(0, number, number % 2, 0, 1, moved, False, 4 * number, [number])
    return usual._replace(**fields)


def key(number: int) -> int:
    return key_of(task(number))


def record(number: int, epoch: int = 0) -> Record:
    nothing = Record._make([0] * len(Record._fields))
    return nothing._replace(epoch=epoch, number=number)


def owed(shared: int = 0, own: dict[int, list[int]] | None = None) -> Owed:
    """So many tasks in the queue of all, and some in the queues of processes."""
    made = Owed()
    for number in range(shared):
        made.sent(task(number), None)
    for process, numbers in (own or {}).items():
        for number in numbers:
            made.sent(task(number, moved=False), process)
    return made


def died(
    of: Owed, *held: int, process: int = 0, taking: bool = False, **options: Any
) -> Again | GiveUp:
    """A process died with these in its hands."""
    living = {"living": 1, "queued": 0, "held": (), **options}
    living["held"] = {key(number) for number in living["held"]}
    return of.died([Dead(process, tuple(key(number) for number in held), taking)], **living)


def numbers(tasks: Any) -> list[int]:
    return [one.number for one in tasks]


# -- the queue that all read


def test_what_is_neither_queued_nor_with_the_living_is_made_again_first() -> None:
    again = died(owed(shared=6), 1, queued=3, held=[0, 2])

    assert isinstance(again, Again)
    assert numbers(again.shared) == [1, 3, 4, 5]
    assert numbers(again.suspects) == [1]


def test_a_task_that_the_dead_had_taken_without_a_note_is_lost_too() -> None:
    again = died(owed(shared=3), taking=True, queued=1, held=[0])

    assert isinstance(again, Again)
    assert numbers(again.shared) == [1, 2]
    assert numbers(again.suspects) == [1]


def test_what_had_come_is_not_made_again() -> None:
    of = owed(shared=3)
    of.came(0, record(1))

    again = died(of, 1, queued=1, held=[0])

    assert isinstance(again, Again)
    assert numbers(again.shared) == [2]
    assert not again.suspects


def test_a_suspect_is_made_alone() -> None:
    again = died(owed(shared=3), 0, 1, queued=1)

    assert isinstance(again, Again)
    assert [one.trial for one in again.shared] == [True, True, False]


def test_a_task_that_two_died_of_is_not_made_a_third_time() -> None:
    of = owed(shared=3)
    again = died(of, 0, 1, queued=1)
    assert isinstance(again, Again)
    for one in again.shared:
        of.sent(one, None)

    assert died(of, 1, process=1, queued=1, held=[0]) == GiveUp((task(1, trial=True),))


def test_what_came_of_a_task_clears_it_of_suspicion() -> None:
    of = owed(shared=1)
    died(of, 0)
    of.sent(task(0), None)
    of.came(1, record(0))
    of.sent(task(0), None)

    assert isinstance(died(of, 0, process=2), Again)


def test_two_that_die_together_lose_what_both_had() -> None:
    dead = [Dead(0, (key(0),), False), Dead(1, (), True)]

    again = owed(shared=4).died(dead, living=0, queued=2, held=set())

    assert isinstance(again, Again)
    assert numbers(again.shared) == [0, 1, 2, 3]
    assert numbers(again.suspects) == [0, 1]


# -- a process's own queue


def test_a_homes_tasks_are_made_again_in_order_by_whoever_replaces_its_process() -> None:
    again = died(owed(own={0: [0, 2, 4], 1: [1, 3]}), 0)

    assert isinstance(again, Again)
    assert {process: numbers(tasks) for process, tasks in again.own.items()} == {0: [0, 2, 4]}
    assert numbers(again.suspects) == [0]
    assert not again.shared


def test_what_is_left_of_an_epoch_before_comes_first() -> None:
    of = Owed()
    for epoch, number in [(0, 6), (0, 8), (1, 0), (1, 2)]:
        of.sent(task(number, moved=False, epoch=epoch), 0)
    of.came(0, record(6))

    again = died(of)

    assert isinstance(again, Again)
    assert [(one.epoch, one.number) for one in again.own[0]] == [(0, 8), (1, 0), (1, 2)]


def test_whoever_died_idle_makes_nothing_suspect() -> None:
    again = died(owed(shared=2, own={0: [2, 4]}), queued=2)

    assert isinstance(again, Again)
    assert not again.suspects
    assert numbers(again.own[0]) == [2, 4]
    assert numbers(again.shared) == [0, 1]


def test_whoever_dies_while_it_reads_its_own_queue_makes_the_first_of_it_suspect() -> None:
    of = owed(own={0: [0, 2]})

    first = died(of, taking=True)
    assert isinstance(first, Again)
    for one in first.own[0]:
        of.sent(one, 1)

    assert numbers(first.suspects) == [0]
    assert died(of, process=1, taking=True) == GiveUp((task(0, moved=False),))


# -- too many deaths


@pytest.mark.parametrize("living", [0, 3])
def test_those_that_die_at_once_are_not_replaced_for_ever(living: int) -> None:
    of = owed()

    came_to = [died(of, process=process, living=living) for process in range(100)]

    assert isinstance(came_to[0], Again)
    assert came_to[-1] == GiveUp(())


def test_workers_may_die_now_and_then_for_ever() -> None:
    of = owed()
    for process in range(200):
        for number in range(10):
            of.sent(task(number), None)
            of.came(process, record(number))

        assert isinstance(died(of, process=process), Again)
