"""The live circle of a loader: what its last batches took, a decision, and maybe another plan.

    batches ──► lately ─┐
    the machine ────────┴─► Window ──► controller.step ──► iterator.switch
                                                       └──► kept, with its reason, for the report

It composes and decides nothing: the engine sums up and switches, the probes say how crowded the
machine is, the controller decides. All of it runs inside `__next__`, about once a second.
"""

import logging
import re
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from msgspec.structs import replace

from wellfed._engine.auto import INLINE_S, MOST_THREADS
from wellfed._engine.iterator import EngineIterator
from wellfed._engine.lately import Lately, lately
from wellfed._engine.processes import Processes
from wellfed._engine.switching import read_unnoticed
from wellfed._engine.watch.recorder import Recorder
from wellfed._probes.cpus import usable_cpus
from wellfed._probes.crowding import Crowd, crowding
from wellfed._tuner.controller import Keep, State, Switch, step
from wellfed._tuner.window import Bounds, Window
from wellfed.errors import UsageError
from wellfed.records import Change, Plan

__all__ = ["Live"]

log = logging.getLogger(__name__)

# A window: long enough that a second of noise is not believed, and short enough that a loader on
# the wrong plan is on a better one within ten.
WINDOW_NS, WINDOW_BATCHES = 1e9, 16
LONG_WINDOW_NS, LEAST_BATCHES = 5e9, 4
AGAIN_NS = 0.25e9

MOST_CHANGES = 256
MOST_WORKERS, WORKERS_PER_CPU = 64, 8

NEVER = float("inf")

# What is said is said once, whatever the numbers in it are by then.
_NUMBERS = re.compile(r"[\d.]+")


class Live:
    """What tunes one loader while it trains, over all its iterators."""

    def __init__(
        self,
        recorder: Recorder,
        *,
        crowd: Callable[[Iterable[int]], Crowd] | None = None,
        cpus: Callable[[], int] = usable_cpus,
    ) -> None:
        """Nothing is iterated yet.

        Args:
            recorder: keeps what each batch took.
            crowd: says how crowded the machine was since it was asked last.
            cpus: says how many CPUs this rank may use.
        """
        self.plan: Plan | None = None
        """What was found; None as long as nothing was."""
        self._recorder = recorder
        self._iterators: weakref.WeakSet[EngineIterator] = weakref.WeakSet()
        self._crowd = crowd
        self._cpus = cpus
        self._state: State | None = None
        self._failed = False
        self._said = ""
        self._since_ns = -1
        self._began_ns = time.perf_counter_ns()
        self._changes: deque[Change] = deque(maxlen=MOST_CHANGES)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy of the loader, in this process or another, has no iterator yet.
        return type(None), ()

    @property
    def changes(self) -> tuple[Change, ...]:
        """What was done about the plan, and why; the last of it."""
        return tuple(self._changes)

    def began(self, iterator: EngineIterator) -> None:
        """An iterator was made."""
        self._iterators.add(iterator)
        self._since_ns = -1
        if self.plan is not None and iterator.plan == self.plan:
            # It has begun as torch's would, and reads ahead for all its processes from here on.
            iterator.switch(self.plan)

    def switch(self, plan: Plan) -> None:
        """Have all that are being iterated go on with another plan, by hand.

        Raises:
            UsageError: one of them cannot.
        """
        for iterator in [one for one in self._iterators if one.is_open]:
            before = iterator.plan
            why = iterator.switch(plan)
            if why is not None:
                raise UsageError(
                    f"the loader cannot switch to backend={plan.backend!r}, "
                    f"workers={plan.workers} now. {why} Set `loader.plan` for its next iterator."
                )
            self._keep("by hand", before, plan, "you asked for it")

    # -- inside `__next__` ---------------------------------------------------------------------

    def look(self, iterator: EngineIterator, now_ns: int) -> float:
        """A batch was delivered: maybe change the plan; says when to be asked again.

        Never raises: training goes on whatever happens here.
        """
        # What is observed is to be seen as it is: a plan that changes would be two runs in one.
        if self._failed or iterator.job.watched:
            return NEVER
        try:
            return self._look(iterator, now_ns)
        except Exception:
            self._failed = True
            # As text: a handler that keeps the exception would keep the iterator and its workers.
            log.error(
                "The loader does not tune itself any more; its batches are not affected.\n%s",
                traceback.format_exc(),
            )
            return NEVER

    def _look(self, iterator: EngineIterator, now_ns: int) -> float:
        if self._since_ns < 0 or iterator is not self._latest():
            self._since_ns = now_ns
            return now_ns + WINDOW_NS
        plan = iterator.plan
        if self._state is not None and plan != self._state.plan:
            return self._pending(iterator, plan, now_ns)
        seen = lately(reversed(self._recorder.entries), self._since_ns, plan.threads)
        if seen is None or not _enough(seen):
            return now_ns + AGAIN_NS
        self._since_ns = now_ns
        self._decide(iterator, self._window(iterator, seen))
        return now_ns + WINDOW_NS

    def _latest(self) -> EngineIterator | None:
        """The only one that is being iterated: two at once would be measured together."""
        live = [one for one in self._iterators if one.is_open]
        return live[0] if len(live) == 1 else None

    def _pending(self, iterator: EngineIterator, plan: Plan, now_ns: int) -> float:
        """The last switch has not happened yet; or never will, or it was another's."""
        self._since_ns = now_ns
        if self._state is not None and (iterator.switch_refused or not iterator.switching):
            self._state = replace(self._state, plan=plan, trying=None)
        return now_ns + WINDOW_NS

    def _window(self, iterator: EngineIterator, seen: Lately) -> Window:
        if self._crowd is None:
            self._crowd = crowding()
        crowd = self._crowd(one.pid for one in iterator._workers)
        plan, period_s = iterator.plan, seen.seconds / seen.batches
        making_s, whole = seen.making_s, self._recorder.whole_epoch
        left = None if whole is None else max(0, whole - iterator._num_yielded)
        return Window(
            batches=seen.batches,
            seconds=seen.seconds,
            wait_s=seen.wait_s,
            gap_s=seen.gap_s,
            gap_deviation_s=seen.gap_deviation_s,
            fetch_s=seen.fetch_s,
            cpu_s=seen.cpu_s,
            busy_share=_busy_share(making_s, plan.workers * period_s),
            pressure_share=crowd.pressure_share,
            throttled_share=crowd.throttled_share,
            room_workers=crowd.room_workers,
            left_s=None if left is None else left * period_s,
        )

    def _decide(self, iterator: EngineIterator, window: Window) -> None:
        before = iterator.plan
        if self._state is None:
            self._state = State(plan=before, bounds=self._bounds(iterator))
        # Whether batches are bound to their workers may turn out at any time.
        fixed = iterator.why_fixed or ""
        bounds = replace(self._state.bounds, why_fixed=fixed, backends=_others(iterator))
        self._state, decision = step(replace(self._state, bounds=bounds), window)
        if isinstance(decision, Keep):
            what = _NUMBERS.sub("", decision.why)
            if what and what != self._said:
                self._keep("out of reach", before, before, decision.why)
            self._said = what or self._said
            return
        refused = iterator.switch(decision.plan)
        if refused is not None:
            self._state = replace(self._state, plan=before, trying=None)
            self._keep("out of reach", before, before, refused)
            return
        self.plan = self._recorder.plan = decision.plan
        kind = "switch" if isinstance(decision, Switch) else "undo"
        self._keep(kind, before, decision.plan, decision.why)

    def _bounds(self, iterator: EngineIterator) -> Bounds:
        job, plan, cpus = iterator.job, iterator.plan, self._cpus()
        threads = replace(plan, workers=max(1, plan.workers), threads=2)
        threaded = Processes().refuses(job, threads) is None
        read_so = "" if job.iterable or read_unnoticed(job) else "others may see how it is read"
        started_s = sum(iterator.start_ns) / 1e9
        fit = job.limits.most_workers if job.limits is not None else MOST_WORKERS
        return Bounds(
            cpus=cpus,
            most_workers=max(plan.workers, min(MOST_WORKERS, WORKERS_PER_CPU * cpus, fit)),
            most_prefetch=max(8, plan.prefetch or 0),
            most_threads=MOST_THREADS if threaded else 0,
            why_read_so=read_so,
            backends=_others(iterator),
            inline_s=INLINE_S,
            switch_s=max(0.2, started_s),
        )

    def _keep(self, kind: str, before: Plan, after: Plan, why: str) -> None:
        at_s = (time.perf_counter_ns() - self._began_ns) / 1e9
        batch = self._recorder.batches
        self._changes.append(
            Change(kind=kind, at_s=at_s, batch=batch, before=before, after=after, why=why)
        )
        log.debug("%s at batch %d: %s -> %s: %s", kind, batch, before, after, why)


def _busy_share(making_s: float | None, worker_s: float) -> float | None:
    """Of the workers' time, what they spend on batches; None without workers, or without word."""
    return None if making_s is None or not worker_s else min(1.0, making_s / worker_s)


def _others(iterator: EngineIterator) -> tuple[str, ...]:
    """Back ends that could take over."""
    here = iterator.plan
    plans = (
        replace(here, backend="inline", workers=0, threads=0),
        replace(here, backend="processes", workers=max(1, here.workers)),
    )
    return tuple(
        one.backend
        for one in plans
        if one.backend != iterator.backend and iterator.why_not_moved(one) is None
    )


def _enough(seen: Lately) -> bool:
    if seen.seconds * 1e9 >= LONG_WINDOW_NS:
        return seen.batches >= LEAST_BATCHES
    return seen.seconds * 1e9 >= WINDOW_NS * 0.9 and seen.batches >= WINDOW_BATCHES
