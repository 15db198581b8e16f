"""All trials of one tuning: runs them one after another, tells of them, keeps what each showed.

    plan ─► Trier ─► stretch ─┐
    gauges, in a process of their own ─┴─► `close` puts what the machine did beside each stretch

Guarantees
- Ctrl-C ends the trial that runs, and with it the tuning; what was measured is kept;
- the process that reads gauges ends with `close`.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from wellfed._attach.trying import Stretch, Trier
from wellfed._attach.wanted import Follower
from wellfed._probes import start_gauges
from wellfed._tuner.readings import Reading
from wellfed._tuner.resources import during
from wellfed._tuner.search import Ask
from wellfed.records import Plan

__all__ = ["Lines", "Trials", "readings_of"]

# Half a second of trial then has four samples. A sample takes 2 ms of a core.
GAUGES_EVERY_S = 0.125


class Lines:
    """Tells of each trial in a line, once it has ended."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def begins(self, name: str, why: str, spent_s: float) -> None:
        """Nothing yet."""

    def ended(self, name: str, said: str, took_s: float, spent_s: float) -> None:
        """The line."""
        self._tell(f"{spent_s:3.0f} s  {name}: {said}; it took {took_s:.1f} s")

    def close(self) -> None:
        """Nothing is kept."""


class Trials:
    """Runs trials within a budget. Used by one thread; closing it twice is harmless."""

    def __init__(
        self,
        trier: Trier,
        follower: Follower,
        *,
        budget_s: float,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Start reading gauges; no trial runs yet."""
        self.interrupted = False
        self.budget_s = budget_s
        self._trier = trier
        self._follower = follower
        self._clock = clock
        self._began_ns = clock()
        self._sampler = start_gauges(os.getpid(), 0, GAUGES_EVERY_S)

    @property
    def spent_s(self) -> float:
        """Seconds since they began."""
        return (self._clock() - self._began_ns) / 1e9

    def over(self, share: float = 1.0) -> bool:
        """Whether no more may run: after that share of the budget, and after Ctrl-C."""
        return self.interrupted or self.spent_s > share * self.budget_s

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Ctrl-C ends the trial that runs, and leaves the block; the second does so at once.

        The first is noted and not raised, since in the `__del__` of a trial's iterator it would be
        lost. Workers hear of it, too, and end.
        """
        before = signal.getsignal(signal.SIGINT)

        def note(number: int, frame: FrameType | None) -> None:
            again, self.interrupted = self.interrupted, True
            if again and callable(before):
                before(number, frame)

        mine = callable(before) and threading.current_thread() is threading.main_thread()
        try:
            if mine:
                signal.signal(signal.SIGINT, note)
            yield
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            if mine:
                signal.signal(signal.SIGINT, before)

    def run(self, step: Ask) -> Stretch:
        """One stretch of a plan."""
        name, began_s = _named(step.plan), self.spent_s
        self._follower.begins(name, step.why, began_s)
        stretch = self._trier.try_out(step.plan)
        if self.interrupted:  # what it showed is not of the plan
            raise KeyboardInterrupt
        self._follower.ended(name, _said(stretch), self.spent_s - began_s, self.spent_s)
        return stretch

    def close(self, *tried: Sequence[Stretch]) -> tuple[list[Stretch], ...]:
        """End, and give each list of stretches back with what the machine did beside them."""
        self._follower.close()
        gauges = self._sampler.close()
        return tuple(
            [one._replace(gauges=during(gauges, one.began_ns, one.ended_ns)) for one in some]
            for some in tried
        )


def readings_of(stretches: Sequence[Stretch]) -> list[Reading]:
    """Their speeds alone."""
    return [one.reading for one in stretches]


def _named(plan: Plan) -> str:
    loader = "torch" if plan.backend == "torch" else f"wellfed, {plan.backend}"
    depth = f", prefetch_factor={plan.prefetch}" if plan.workers else ""
    pinned = ", pin_memory=True" if plan.pin_memory else ""
    threads = f", {plan.threads} threads each" if plan.threads else ""
    return f"{loader}: num_workers={plan.workers}{depth}{pinned}{threads}"


def _said(stretch: Stretch) -> str:
    if stretch.reading.failed:
        return f"failed ({stretch.reading.failed.splitlines()[0][:60]})"
    return f"{1 / max(1e-9, stretch.reading.seconds):,.1f} batches/s"
