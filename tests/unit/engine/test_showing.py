"""What is shown of a running loader follows from its last batches, and cannot hurt training."""

import logging
from typing import Any

import pytest
from torch.utils.data import DataLoader

from wellfed._engine.watch import showing as module
from wellfed._engine.watch.entries import Entry
from wellfed._engine.watch.letters import Brief
from wellfed._engine.watch.recorder import Recorder
from wellfed._engine.watch.showing import NEVER, Seldom, Showing, status_of
from wellfed.records import LoaderStatus, Plan, Site
from wellfed.testing import TinyItems

MS = 1_000_000


def recorder(plan: Plan | None = None, showing: Showing | None = None) -> Recorder:
    loader = DataLoader(TinyItems(length=8), batch_size=4)
    plan = plan or Plan(backend="processes", workers=2, prefetch=2)
    return Recorder(Site(file="train.py", line=41), loader, plan, showing=showing)


def entry(number: int, asked_ns: int, wait_ns: int, *told: Brief) -> tuple[Any, ...]:
    return tuple(
        Entry(
            key=number,
            epoch=0,
            number=number,
            asked_ns=asked_ns,
            got_ns=asked_ns + wait_ns,
            asked_cpu_ns=-1,
            got_cpu_ns=-1,
            sampler_ns=0,
            ready=-1,
            held=0,
            arrived_ns=-1,
            receive_ns=0,
            pin_ns=0,
            message_bytes=0,
            paused_ns=0,
            told=tuple(tuple(one) for one in told),
        )
    )


def brief(worker: int, taken_ns: int, fetch_ns: int, cpu_ns: int) -> Brief:
    return Brief(worker, taken_ns, 0, fetch_ns, cpu_ns, 0, 4)


def run(one: Recorder, batches: int = 100, wait_ns: int = 3 * MS, step_ns: int = 7 * MS) -> None:
    """Two workers take turns; each makes a batch in 15 ms, 5 of them on a core."""
    one.begin(0, lightly=True)
    period_ns = wait_ns + step_ns
    for number in range(batches):
        asked_ns = number * period_ns
        made = brief(number % 2, asked_ns - 13 * MS, 15 * MS, 5 * MS)
        one.keep_lightly(entry(number, asked_ns, wait_ns, made))


def test_rates_and_shares_are_those_of_the_window() -> None:
    one = recorder()
    run(one)

    status = status_of(one)

    assert status.batches_per_s == pytest.approx(100)
    assert status.samples_per_s == pytest.approx(400)
    assert status.wait_share == pytest.approx(0.3)
    assert status.wait_s == pytest.approx(0.003)
    assert status.step_s == pytest.approx(0.007)
    assert (status.number, status.batches, status.site) == (99, 100, "train.py:41")


def test_a_worker_is_shown_with_its_last_batch_its_time_and_its_cpu() -> None:
    one = recorder()
    run(one)

    first, second = status_of(one).worker_status

    assert (first.worker, second.worker) == (0, 1)
    assert (first.last, second.last) == (98, 99)
    assert first.fetch_s == pytest.approx(0.015)
    assert first.cpu_share == pytest.approx(1 / 3)
    assert first.busy_share == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize(("made_ms_before", "share"), [(20, 1.0), (13, 0.0)])
def test_a_batch_is_ready_if_it_was_finished_when_asked_for(
    made_ms_before: int, share: float
) -> None:
    one = recorder()
    for number in range(20):
        made = brief(0, (number * 10 - made_ms_before) * MS, 15 * MS, MS)
        one.keep_lightly(entry(number, number * 10 * MS, MS, made))

    assert status_of(one).ready_share == share


def test_two_seconds_are_looked_at_but_two_batches_at_least() -> None:
    one = recorder()
    run(one, batches=100, wait_ns=50 * MS, step_ns=50 * MS)
    slow = recorder()
    run(slow, batches=5, wait_ns=5_000 * MS, step_ns=5_000 * MS)

    assert status_of(one).window_s == pytest.approx(2.0, abs=0.11)
    assert status_of(slow).window_s == pytest.approx(10.0)


def test_one_batch_is_enough() -> None:
    one = recorder(Plan(backend="inline"))
    one.keep_lightly(entry(0, 0, 5 * MS))

    status = status_of(one)

    assert status.wait_share == 1.0
    assert status.batches_per_s == pytest.approx(200)
    assert (status.worker_status, status.ready_share) == ((), None)


def test_what_is_shown_next_comes_a_quarter_of_a_second_later() -> None:
    told: list[LoaderStatus] = []
    one = recorder(showing=Showing([told.append]))
    one.begin(1_000, lightly=True)
    one.keep_lightly(entry(0, 0, MS))

    assert one.due_ns == 1_000 + module.PERIOD_NS
    one.show(one.due_ns)

    assert one.due_ns == 1_000 + 2 * module.PERIOD_NS
    assert len(told) == 1


def test_nothing_is_ever_due_where_nobody_is_told_or_another_shows_it() -> None:
    alone, watched = recorder(), recorder(showing=Showing([print]))
    alone.begin(0, lightly=True)
    watched.begin(0, lightly=True, shown=False)

    assert (alone.due_ns, watched.due_ns) == (NEVER, NEVER)


def test_who_raises_is_told_no_more_and_the_others_are(caplog: pytest.LogCaptureFixture) -> None:
    told: list[LoaderStatus] = []

    def full(_: LoaderStatus) -> None:
        raise OSError("no space left")

    showing = Showing([full, told.append])
    one = recorder(showing=showing)
    one.keep_lightly(entry(0, 0, MS))
    with caplog.at_level(logging.INFO):
        showing.show(one)
        showing.show(one)

    assert len(told) == 2
    assert caplog.text.count("no space left") == 1


def test_once_a_second_is_often_enough_for_others() -> None:
    told: list[LoaderStatus] = []
    seldom = Seldom(told.append)
    one = recorder()
    one.keep_lightly(entry(0, 0, MS))
    status = status_of(one)
    for _ in range(3):
        seldom(status)

    assert told == [status]


def test_decisions_and_the_limit_are_passed_on() -> None:
    one = recorder()
    one.keep_lightly(entry(0, 0, MS))
    one.memory_limit_bytes = 8_000_000_000
    one.decisions.append("2 workers to 4: 31 % faster")

    status = status_of(one)

    assert status.memory_limit_bytes == 8_000_000_000
    assert status.decisions == ("2 workers to 4: 31 % faster",)
