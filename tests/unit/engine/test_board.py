"""A page of shared memory: each side sees what the other wrote, and a word is heard once."""

import os
from typing import Any

import pytest

from wellfed._engine.board import DROP, FREE, SLABS, Board, Page, turn


@pytest.fixture
def sides() -> tuple[Page, Page]:
    """The trainer's page and the worker's."""
    board = Board()
    worker = Page(board.fd)
    board.close()
    return board.page, worker


def test_a_new_page_says_nothing(sides: tuple[Page, Page]) -> None:
    trainer, worker = sides

    assert trainer.number == -1
    assert trainer.place == 0
    assert [worker.heard(slab) for slab in range(SLABS)] == [0] * SLABS


def test_the_trainer_sees_which_sample_is_under_way(sides: tuple[Page, Page]) -> None:
    trainer, worker = sides
    worker.number, worker.place = 2**40, 17

    assert (trainer.number, trainer.place) == (2**40, 17)

    worker.number = worker.place = -1

    assert (trainer.number, trainer.place) == (-1, -1)


@pytest.mark.parametrize("what", [FREE, DROP])
def test_what_is_said_of_a_slab_is_heard_once(sides: tuple[Page, Page], what: int) -> None:
    trainer, worker = sides
    trainer.say(5, what)

    assert [worker.heard(5), worker.heard(5), worker.heard(6)] == [what, 0, 0]


def test_every_slab_has_a_place_of_its_own(sides: tuple[Page, Page]) -> None:
    trainer, worker = sides
    worker.number, worker.place = 3, 4
    for slab in range(SLABS):
        trainer.say(slab, FREE)

    assert [worker.heard(slab) for slab in range(SLABS)] == [FREE] * SLABS
    assert (trainer.number, trainer.place) == (3, 4)


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
