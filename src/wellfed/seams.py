"""Every seam of the package on one page: what a stranger implements to plug something in."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from wellfed.job import Job
from wellfed.records import Case, Fact, Finding, LoaderStatus, Plan, Report

__all__ = ["Backend", "Clock", "Probe", "Renderer", "Rule", "Sink", "Stream"]

Clock = Callable[[], int]
"""Monotonic nanoseconds. The default everywhere is `time.perf_counter_ns`."""

Probe = Callable[[], Fact[Any]]
"""Asks the machine one thing. Never raises: a Fact without a value says why there is none."""

Rule = Callable[[Case], Finding | None]
"""Looks at a case and says what is wrong with it, or nothing. Pure."""


class Stream(Protocol):
    """Batches under one plan, in order."""

    def __iter__(self) -> Iterator[Any]: ...

    def __next__(self) -> Any:
        """The next batch. Raises StopIteration at the end, and the user's own exceptions.

        After an exception the next call goes on with the batch after it, as torch does.
        """

    def restart(self, indices: Iterator[Any]) -> None:
        """Begin another epoch with what is already started; what is left of this one is dropped."""

    def close(self) -> None:
        """Give everything back. Harmless when called twice."""


class Backend(Protocol):
    """A way of making batches."""

    name: str
    """What `Plan.backend` calls it."""

    def refuses(self, job: Job, plan: Plan) -> str | None:
        """Why this job cannot run here under this plan, in one sentence; None if it can."""

    def open(self, job: Job, plan: Plan, indices: Iterator[Any]) -> Stream:
        """Start making batches.

        Args:
            job: what is loaded.
            plan: how.
            indices: what torch's fetcher takes, one for each batch: a list of indices with
                automatic batching, a single one without. Read once each, in order, and only by
                the thread that calls `__next__`.
        """


class Renderer(Protocol):
    """Shows a report. Never measures, never judges."""

    def render(self, report: Report) -> str:
        """The report as text."""


class Sink(Protocol):
    """Sends what is seen elsewhere. One that raises is switched off; training goes on."""

    def emit(self, seen: LoaderStatus | Report) -> None:
        """Send it: once a second how each loader does, and at the end the report.

        Called in a thread of its own, never in the one that trains.
        """

    def close(self) -> None:
        """Give everything back. Harmless when called twice."""
