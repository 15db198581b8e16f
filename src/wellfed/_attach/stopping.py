"""Ends a watched script at one of its batches: when enough is seen, and not alone among ranks.

    step    pacer: enough seen? ── no ─► go on
            │ yes
            ranks: a group that must agree? ── not yet ─► go on
            │ no, or it has agreed
            raise StopWatching where the batch was asked for, and in the thread that is watched

Guarantees
- a process that trains with others never stops before them: they would wait for it for ever;
- a process that the script started for work of its own (a Pool's) is never stopped: the script
  waits for its answer;
- a thread is interrupted only while it waits, never while it writes a checkpoint.
"""

import sys
import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any

from wellfed._attach import ranks
from wellfed._attach.hearing import Hearing
from wellfed._attach.interrupt import interrupt, is_waiting, keep_silent, withdraw
from wellfed._attach.pacer import Limits, Pace, Pacer
from wellfed._engine.watch.stopping import StopWatching
from wellfed.seams import Clock

if TYPE_CHECKING:
    from wellfed._engine.watch.recorder import Recorder

__all__ = ["Stopper", "Stops"]

# Ranks answer at their next batch of that loader. They are not given up before so much time and
# so many batches of rank 0: it may itself be the first to come back from a validation.
UNANSWERED_S = 20.0
UNANSWERED_BATCHES = 8
# How long, in all, a thread that feeds the watched one holds batches back until that one waits.
HOLD_BACK_S = 10.0
LOOK_AGAIN_S = 0.005
# A thread that was let through asks again after one batch, if anybody takes it.
LAST_BATCH_S = 5.0
# An interrupted thread that does not leave within so long waits without a time-out.
WAKES_S = 1.0


class Stops(Enum):
    """In whose company a process may be stopped."""

    WITH_RANKS = "together with its process group; alone without one"
    ALONE = "alone, whatever group it is in"
    ONLY_WITH_RANKS = "together with its process group; never without one"


class Stopper:
    """Asked at every batch; made in the thread that is to be stopped."""

    def __init__(
        self,
        limits: Limits,
        enough: Callable[[], bool],
        *,
        stops: Stops = Stops.WITH_RANKS,
        tell: Callable[[str], None] | None = None,
        clock: Clock = time.perf_counter_ns,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            limits: when to end the script.
            enough: whether enough has been seen; asked rarely.
            stops: in whose company.
            tell: shown a line where the stop cannot come.
            clock: monotonic nanoseconds.
        """
        self.told = False
        """Whether the script was told to stop."""
        self.group: tuple[int, int, Any] | None = None
        """Rank, world and store; remembered, because scripts destroy their group at their end."""
        self.hearing: Hearing | None = None
        """How this rank tells rank 0 what it saw, or hears it; None outside a group, or alone."""
        self._limits = limits
        self._stops = stops
        self._tell = tell
        self._clock = clock
        self._pacer = Pacer(limits, enough, clock)
        self._agreement: ranks.Agreement | None = None
        self._asked_ns: int | None = None
        self._asked_at = 0
        self._thread = threading.get_ident()
        self._inside = True
        self._hold_back_s = HOLD_BACK_S
        # Set but for the time in which another thread, let through, has not asked again.
        self._feeder_stopped = threading.Event()
        self._feeder_stopped.set()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first batch was asked for."""
        return self._pacer.elapsed_s

    def leave(self) -> None:
        """The watched thread is on its way out: it must not be interrupted any more."""
        self._inside = False
        if self.told:
            withdraw(self._thread)
        # While loaders are still watched: afterwards that thread would feed nobody for ever.
        self._feeder_stopped.wait(LAST_BATCH_S)

    def step(self, recorder: "Recorder", matters: "Recorder") -> None:
        """A batch is about to be asked for.

        Args:
            recorder: of the loader that is asked.
            matters: of the loader with which the script spends most of its time.

        Raises:
            StopWatching: it is time.
        """
        if self.group is None:
            self.group = ranks.group()
            if self.group is not None and self._stops is not Stops.ALONE:
                self.hearing = Hearing(*self.group)
        wants_stop = self._pacer.step(matters.batches) is Pace.STOP
        if not self._limits.full and self._is_time(recorder, matters, wants_stop):
            self._stop()

    def _is_time(self, recorder: "Recorder", matters: "Recorder", wants_stop: bool) -> bool:
        """Whether to stop now: alone at once, among ranks after the batch that all agree on."""
        if self._stops is Stops.ALONE:
            return wants_stop
        if self.group is None:
            return wants_stop and self._stops is not Stops.ONLY_WITH_RANKS
        if self._agreement is None:
            self._agreement = ranks.Agreement(*self.group)
        # Asking costs a message a batch; before the earliest possible stop it is for nothing.
        if not wants_stop and self.elapsed_s < min(3.0, self._limits.seconds / 2):
            return False
        wanted = matters.name if wants_stop else None
        agreed = self._agreement.poll(recorder.name, recorder.batches, wanted)
        if self.group[0] == 0 and self._agreement.unanswered(recorder.name):
            self._await_answers(recorder.batches)
        return agreed

    def _await_answers(self, batches: int) -> None:
        """Say once that other ranks do not answer rank 0."""
        if self._asked_ns is None:
            self._asked_ns, self._asked_at = self._clock(), batches
        waited_s = (self._clock() - self._asked_ns) / 1e9
        late = waited_s >= UNANSWERED_S and batches >= self._asked_at + UNANSWERED_BATCHES
        if late and self._tell is not None:
            self._tell(
                "wellfed: not all ranks are watched, so none is stopped; the script runs to its "
                "end. Start every rank with wellfed, e.g. torchrun ... -m wellfed diagnose ..."
            )
            self._tell = None

    def _stop(self) -> None:
        if threading.get_ident() != self._thread:
            if self._lets_pass():
                return
            keep_silent(threading.current_thread())
            self._feeder_stopped.set()
        self.told = True
        raise StopWatching

    def _lets_pass(self) -> bool:
        """Interrupt the watched thread as soon as it waits; without a batch from here it soon does.

        Returns:
            Whether this batch goes through all the same: it wakes a thread that waits for it for
            ever, and where that thread never waits in a way that shows, we ask at the next one.
            Else it must not: nobody would take it, and putting it on a queue could block for ever.
        """
        while self._inside and not self.told:
            if is_waiting(sys._current_frames().get(self._thread)):
                self._feeder_stopped.clear()
                self.told = True
                interrupt(self._thread)
                return not self._leaves_soon()
            if self._hold_back_s <= 0:
                return True
            time.sleep(LOOK_AGAIN_S)
            self._hold_back_s -= LOOK_AGAIN_S
        return False

    def _leaves_soon(self) -> bool:
        """Whether the interrupted thread comes to it without a batch."""
        deadline = time.monotonic() + WAKES_S
        while self._inside and time.monotonic() < deadline:
            time.sleep(LOOK_AGAIN_S)
        return not self._inside
