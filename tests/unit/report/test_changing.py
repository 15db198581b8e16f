"""What a card says of the plan that changed while training."""

from msgspec.structs import replace
from reports import STARVED

from wellfed._report.changing import changed
from wellfed._report.text import render_text
from wellfed.records import Change, Plan, Report, decode, encode

ONE, FOUR = Plan(workers=1, prefetch=2), Plan(workers=4, prefetch=2)

GREW = Change(
    kind="switch", at_s=2.0, batch=1200, before=ONE, after=FOUR, why="76% of the time is waiting"
)
BACK = Change(kind="undo", at_s=5.0, batch=1300, before=FOUR, after=ONE, why="it did not help")
BEYOND = Change(
    kind="out of reach", at_s=9.0, batch=1500, before=ONE, after=ONE, why="a sample draws"
)


def said(*changes: Change) -> list[str]:
    return [row.text for row in changed(replace(STARVED, changes=changes))]


def test_nothing_is_said_where_nothing_was_done() -> None:
    assert said() == []


def test_the_plan_that_it_came_to_is_told_with_its_reason() -> None:
    assert said(GREW) == [
        "4 workers × prefetch 2 since batch 1,200, from 1 worker × prefetch 2: "
        "76% of the time is waiting"
    ]


def test_what_was_undone_and_what_is_out_of_reach_are_told() -> None:
    assert said(GREW, BACK, BEYOND) == [
        "back to 1 worker × prefetch 2 since batch 1,300, from 1 worker × prefetch 2, 2 changes: "
        "it did not help",
        "not changed: a sample draws",
    ]


def test_threads_are_told() -> None:
    threaded = replace(GREW, after=replace(ONE, threads=8))

    assert said(threaded)[0].startswith("1 worker with 8 threads each × prefetch 2")


def test_it_is_on_the_card_and_in_the_file() -> None:
    whole = replace(STARVED, changes=(GREW,))

    assert "tuned" in render_text(whole)
    assert decode(encode(whole), Report).changes == (GREW,)
