"""Whatever a sink does, the thread that trains goes on, and hears of it once."""

import logging
import threading
import time

import pytest

from recorded import recorded
from statuses import loader_status
from wellfed._sinks.outlet import MOST_QUEUED, Outlet
from wellfed.records import LoaderStatus, Report

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

PATIENCE_S = 10.0


class Kept:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.seen: list[LoaderStatus | Report] = []
        self.closed = 0

    def emit(self, seen: LoaderStatus | Report) -> None:
        self.seen.append(seen)

    def close(self) -> None:
        self.closed += 1


class Failing(Kept):
    def emit(self, seen: LoaderStatus | Report) -> None:
        super().emit(seen)
        raise ConnectionError("nobody listens")


class Held(Kept):
    """Takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.reached = threading.Event()

    def emit(self, seen: LoaderStatus | Report) -> None:
        self.reached.set()
        assert self.go.wait(PATIENCE_S)
        super().emit(seen)


def test_all_that_was_put_arrives_in_order_and_the_sink_is_closed_once() -> None:
    sink = Kept()
    outlet = Outlet([sink])
    sent = [loader_status(batches=number) for number in range(10)]
    for one in sent:
        outlet.put(one)
    outlet.close()
    outlet.close()

    assert sink.seen == sent
    assert sink.closed == 1


def test_nothing_is_taken_after_the_end() -> None:
    sink = Kept()
    outlet = Outlet([sink])
    outlet.close()
    outlet.put(loader_status())

    assert sink.seen == []


def test_one_that_fails_is_off_with_one_warning_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing, sink = Failing(), Kept()
    outlet = Outlet([failing, sink])
    for _ in range(5):
        outlet.put(loader_status())
    outlet.close()

    assert (len(failing.seen), failing.closed) == (1, 1)
    assert len(sink.seen) == 5
    assert caplog.text.count("Failing failed and is now off; training is not affected") == 1


def test_a_slow_sink_drops_windows_and_makes_nobody_wait(caplog: pytest.LogCaptureFixture) -> None:
    sink = Held()
    outlet = Outlet([sink])
    outlet.put(loader_status())
    assert sink.reached.wait(PATIENCE_S)
    began = time.monotonic()
    for _ in range(MOST_QUEUED + 36):
        outlet.put(loader_status())
    took_s = time.monotonic() - began
    sink.go.set()
    outlet.close()

    assert took_s < 1.0
    assert len(sink.seen) == MOST_QUEUED + 1
    assert "Held was too slow for 36 windows" in caplog.text


def test_the_report_arrives_however_full_the_queue_is() -> None:
    sink = Held()
    outlet = Outlet([sink])
    for _ in range(MOST_QUEUED + 10):
        outlet.put(loader_status())
    report = recorded("five_batches")
    outlet.put(report)
    sink.go.set()
    outlet.close()

    assert sink.seen[-1] is report


def test_one_that_hangs_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    sink = Held()
    outlet = Outlet([sink])
    outlet.put(loader_status())
    with caplog.at_level(logging.WARNING):
        outlet.close(within_s=0.05)
    sink.go.set()  # so that its thread ends with the test

    assert "Held still hangs and is left behind" in caplog.text


def test_one_that_cannot_be_closed_says_so(caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(Kept):
        def close(self) -> None:
            raise OSError("no space left")

    Outlet([Stuck()]).close()

    assert "closing Stuck failed" in caplog.text
