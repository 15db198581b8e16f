"""The passes that a watch sees, and the clock around `__next__` of every iterator.

    iterator.__next__        asked ─ wait ─ got: one span a batch
    iterator._next_index     the sampler

Guarantees
- the originals run, with the user's arguments, once, and their exceptions pass;
- a failure in the watching itself switches it off, with one warning; training goes on.
"""

import logging
import os
import sys
import time
import weakref
from collections.abc import Callable
from typing import Any

from wellfed._engine.watch import frames, worker
from wellfed._engine.watch.one_pass import Pass
from wellfed._engine.watch.recorder import Recorder

__all__ = ["Passes"]

log = logging.getLogger(__name__)


class Passes:
    """One pass an iterator, while watching is on."""

    def __init__(
        self,
        before_next: Callable[[Recorder], None] | None = None,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.clock = clock
        self.failures: list[str] = []
        self.off = True
        self._before_next = before_next
        # Not an attribute of the iterator: two watches may see one iterator.
        self._of: weakref.WeakKeyDictionary[Any, Pass] = weakref.WeakKeyDictionary()
        self._pid = -1

    def open(self) -> None:
        """Passes may begin in this process."""
        self._pid = os.getpid()
        self.off = False

    def close(self) -> None:
        """None begins any more, and those that live are seen no more."""
        self.off = True
        for one in self._of.values():
            one.close()
        self._of.clear()

    @property
    def blind(self) -> bool:
        """Whether this is off, or the copy of it in a forked child: a worker, or one watched anew.

        The pass of an iterator begins here or never, so its other methods need not ask.
        """
        return self.off or os.getpid() != self._pid

    def fail(self, where: str) -> None:
        """The watching itself failed, with the exception that is being handled: no more of it."""
        if not self.off:
            self.off = True
            self.failures.append(f"watching stopped: {where} failed ({sys.exc_info()[1]!r})")
            log.warning(
                "wellfed: watching failed in %s and is now off; training is not affected",
                where,
                exc_info=True,
            )

    def begin(self, it: Any, recorder: Recorder, iter_ns: int | None = None) -> Pass:
        """A new pass of this iterator; its earlier one is over."""
        now_ns = self.clock() if iter_ns is None else iter_ns
        before = self._of.get(it)
        if before is not None:
            before.end(now_ns, complete=False)
        one = self._of[it] = recorder.begin(now_ns)
        return one

    def of(self, it: Any) -> Pass | None:
        """The iterator's pass, if it has one."""
        return self._of.get(it)

    # -- what any iterator calls --------------------------------------------------------------

    def next_index(self, original: Callable[..., Any], it: Any) -> Any:
        """The sampler is asked."""
        one = self._of.get(it)
        if one is None:
            return original(it)
        began = self.clock()
        indices: Any = None
        try:
            indices = original(it)
            return indices
        finally:
            one.indexed(indices, self.clock() - began)

    def shut_down(self, original: Callable[..., Any], it: Any) -> Any:
        """Workers are ended."""
        one = self._of.get(it)
        if one is None:
            return original(it)
        began = self.clock()
        try:
            return original(it)
        finally:
            now = self.clock()
            one.epoch["shutdown_ns"] = one.epoch.get("shutdown_ns", 0) + now - began
            if not one.inside:
                one.end(now, complete=False)

    def next(
        self,
        original: Callable[[Any], Any],
        it: Any,
        ready: Callable[[Any, Pass], int],
        deliver: Callable[[Any, Pass, tuple[int, int, int, int], int], None],
    ) -> Any:
        """The trainer asks for a batch.

        Args:
            original: the iterator's own `__next__`.
            it: the iterator.
            ready: batches that have arrived and wait to be taken; -1 where that cannot be seen.
            deliver: told of the batch that came: asked and got in ns, the process's CPU clock at
                both, and how many were ready.
        """
        one = self._of.get(it)
        if one is None or one.inside or self.off:
            return original(it)
        if self._before_next is not None:
            entered = self.clock()
            try:
                self._before_next(one.recorder)
            except Exception:
                self.fail("deciding whether to go on")
            one.paused_ns += self.clock() - entered
        return self._timed_next(original, it, one, ready, deliver)

    def _timed_next(
        self,
        original: Callable[[Any], Any],
        it: Any,
        one: Pass,
        ready: Callable[[Any, Pass], int],
        deliver: Callable[[Any, Pass, tuple[int, int, int, int], int], None],
    ) -> Any:
        one.inside = True
        outer = worker.serve(it, one)
        asked_cpu = time.process_time_ns()
        try:
            one.asks()
            one.recorder.stall.asked()
        except Exception:
            self.fail("asking the device for the time")
        asked = self.clock()
        waiting = ready(it, one)
        try:
            batch = original(it)
        except StopIteration:
            one.end(self.clock(), complete=True)
            raise
        except BaseException as error:
            error.__traceback__ = frames.strip_traceback(error.__traceback__)
            raise
        finally:
            got = self.clock()
            one.inside = False
            worker.current.maker, worker.current.iterator = outer
        try:
            one.recorder.stall.got(one.recorder.batches)
            one.look(batch)
            deliver(it, one, (asked, got, asked_cpu, time.process_time_ns()), waiting)
        except Exception:
            self.fail("writing a span")
        return batch
