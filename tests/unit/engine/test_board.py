"""A page of shared memory: each side sees what the other wrote, and a word is heard once."""

import os
from typing import Any

import pytest

from wellfed._engine.board import DROP, FREE, HANDS, SLABS, Board, Page, key_of, turn
from wellfed._engine.wire import Task


@pytest.fixture
def sides() -> tuple[Page, Page]:
    """The trainer's page and the worker's."""
    board = Board()
    worker = Page(board.fd)
    board.close()
    return board.page, worker


def test_a_new_page_says_nothing(sides: tuple[Page, Page]) -> None:
    trainer, worker = sides

    assert trainer.held() == []
    assert not trainer.taking
    assert trainer.place == 0
    assert [worker.heard(slab) for slab in range(SLABS)] == [0] * SLABS


def test_the_trainer_sees_which_sample_is_under_way(sides: tuple[Page, Page]) -> None:
    trainer, worker = sides
    worker.place = 17

    assert trainer.place == 17

    worker.place = -1

    assert trainer.place == -1


def test_the_trainer_sees_which_tasks_are_in_a_workers_hands(sides: tuple[Page, Page]) -> None:
    trainer, worker = sides
    worker.take()
    assert trainer.taking

    worker.hold(7)
    worker.hold(0)
    assert sorted(trainer.held()) == [0, 7]
    assert not trainer.taking

    worker.take()
    worker.missed()
    assert not trainer.taking

    worker.let_go(7)

    assert trainer.held() == [0]


def test_a_worker_whose_hands_are_full_notes_no_more(sides: tuple[Page, Page]) -> None:
    trainer, worker = sides
    for key in range(HANDS + 1):
        worker.hold(key)

    assert worker.full
    assert sorted(trainer.held()) == list(range(HANDS))

    worker.let_go(HANDS)
    worker.let_go(0)

    assert not worker.full
    assert sorted(trainer.held()) == list(range(1, HANDS))


def test_a_key_tells_epochs_parts_and_batches_apart() -> None:
    tasks = [
        Task(epoch, number, 0, part, 3, True, False, 0, None)
        for epoch in (0, 1, 999)
        for number in (0, 1, 2**31)
        for part in (0, 2)
    ]

    assert len({key_of(task) for task in tasks}) == len(tasks)


@pytest.mark.parametrize("what", [FREE, DROP])
def test_what_is_said_of_a_slab_is_heard_once(sides: tuple[Page, Page], what: int) -> None:
    trainer, worker = sides
    trainer.say(5, what)

    assert [worker.heard(5), worker.heard(5), worker.heard(6)] == [what, 0, 0]


def test_every_slab_has_a_place_of_its_own(sides: tuple[Page, Page]) -> None:
    trainer, worker = sides
    worker.place = 4
    worker.hold(3)
    for slab in range(SLABS):
        trainer.say(slab, FREE)

    assert [worker.heard(slab) for slab in range(SLABS)] == [FREE] * SLABS
    assert (trainer.held(), trainer.place) == ([3], 4)


def test_numbers_of_slabs_may_grow_for_ever(sides: tuple[Page, Page]) -> None:
    trainer, worker = sides
    trainer.say(10 * SLABS + 7, DROP)

    assert worker.heard(10 * SLABS + 7) == DROP


def test_a_board_does_without_anonymous_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def blocked(*_: Any) -> int:
        raise OSError(1, "not permitted")

    monkeypatch.setattr(os, "memfd_create", blocked)
    board = Board()
    worker = Page(board.fd)
    board.close()
    board.page.say(1, FREE)

    assert worker.heard(1) == FREE


def test_a_worker_sees_what_it_may_have_and_up_to_which_batch_all_are_wanted(
    sides: tuple[Page, Page],
) -> None:
    trainer, worker = sides

    assert (worker.allowance_bytes, worker.ceiling_bytes, worker.wanted) == (0, 0, 0)

    trainer.allow(2**33, 2**34)
    trainer.wanted = turn(3, 7)

    assert (worker.allowance_bytes, worker.ceiling_bytes) == (2**33, 2**34)
    assert turn(2, 2**39) < turn(3, 6) < worker.wanted < turn(3, 8)
