"""Torch's own loader, watched: every DataLoader of the process, whoever built it.

    DataLoader.__init__      remember the line that built it
    iterator.__init__        a Pass begins: start-up is timed
      Process.start            each worker's start is timed; children of the script can be followed
    iterator.__next__        asked ─ wait ─ got: one span a batch
      _next_index              the sampler
      _try_get_data            which batch's message arrived, with the worker's note
    iterator._reset          persistent workers: the next Pass
    iterator._shutdown_workers

Guarantees
- the methods are replaced on torch's classes, so subclasses are seen and no loader or iterator
  changes its class, its pickling, its `len` or its attributes; the one object that is touched is
  the queue that workers answer through (see `messages`); `undo()` puts everything back;
- the originals run, with the user's arguments, once, and their exceptions pass;
- a failure in the watching itself switches it off, with one warning; training goes on;
- a process forked from the one that installed it sees nothing through the copy that it got.
"""

import logging
import multiprocessing
import multiprocessing.process
import multiprocessing.reduction
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from torch.utils.data import DataLoader, _utils
from torch.utils.data import dataloader as torch_loader

from wellfed._engine.patches import Patches
from wellfed._engine.reading import read_plan
from wellfed._engine.template import serve
from wellfed._engine.watch import frames, worker
from wellfed._engine.watch.garbage import Garbage
from wellfed._engine.watch.messages import MessageLengths
from wellfed._engine.watch.pinning import timed_pin_loop
from wellfed._engine.watch.recorder import Pass, Recorder
from wellfed._engine.watch.sites import Sites
from wellfed._engine.watch.stopping import StopWatching

__all__ = ["StopWatching", "Watch"]

log = logging.getLogger(__name__)

_WATCHED_LOOPS = {
    "torch.utils.data._utils.worker": worker.watched_loop,
    "torchdata.stateful_dataloader.stateful_dataloader": worker.watched_torchdata_loop,
}


class _Building(threading.local):
    one: Pass | None = None


class Watch:
    """Sees every DataLoader of this process while installed."""

    def __init__(
        self,
        *,
        before_next: Callable[[Recorder], None] | None = None,
        before_start: Callable[[Any], None] | None = None,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Prepare; nothing is watched until `install`.

        Args:
            before_next: called when a batch is about to be asked for; may raise StopWatching.
            before_start: called with each multiprocessing process of the script that is about to
                start, loader workers excepted.
            clock: monotonic nanoseconds, the same in every process.
        """
        self.recorders: dict[str, Recorder] = {}
        self.failures: list[str] = []
        self._before_next = before_next
        self._before_start = before_start
        self._clock = clock
        self._sites = Sites()
        # Not an attribute of the iterator: two watches may see one iterator.
        self._passes: weakref.WeakKeyDictionary[Any, Pass] = weakref.WeakKeyDictionary()
        self._lengths = MessageLengths()
        self._patches = Patches()
        self._garbage = Garbage(clock)
        self._known: set[type] = set()
        self._building = _Building()
        self._pid = -1
        self._off = True

    # -- installing ---------------------------------------------------------------------------

    def install(self) -> None:
        """Begin to see loaders."""
        self._pid = os.getpid()
        self._off = False
        base = torch_loader._BaseDataLoaderIter
        self._patches.wrap(DataLoader, "__init__", self._loader_init)
        self._patches.wrap(base, "__init__", self._iterator_init)
        self._patches.wrap(base, "__next__", self._iterator_next)
        self._patches.wrap(base, "_next_index", self._next_index)
        self._patches.wrap(multiprocessing.process.BaseProcess, "start", self._process_start)
        self._patches.wrap(multiprocessing.reduction, "dump", self._dump)
        self._learn(torch_loader._MultiProcessingDataLoaderIter)
        self._patches.replace(_utils.worker, "_worker_loop", worker.watched_loop)
        self._patches.wrap(_utils.pin_memory, "_pin_memory_loop", timed_pin_loop(self._clock))
        for kind in worker.FETCHERS:
            self._patches.replace(kind, "fetch", worker.watched_fetch(kind.fetch))
        self._garbage.listen()

    def undo(self) -> None:
        """Put back all that `install` replaced, and stop seeing. Harmless when called twice."""
        self._off = True
        self._patches.undo()
        self._garbage.undo()
        self._lengths.undo()
        self._known.clear()
        for one in self._passes.values():
            one.close()
        self._passes.clear()

    def _learn(self, kind: type) -> None:
        """Wrap an iterator class that brings its own delivery loop (torch's, torchdata's)."""
        for one in kind.__mro__:
            if one in self._known:
                continue
            self._known.add(one)
            if "__next__" in vars(one) and one is not torch_loader._BaseDataLoaderIter:
                self._patches.wrap(one, "__next__", self._iterator_next)
            if "_try_get_data" in vars(one):
                self._patches.wrap(one, "_try_get_data", self._try_get_data)
                self._patches.wrap(one, "_reset", self._reset)
                self._patches.wrap(one, "_shutdown_workers", self._shutdown_workers)
            module = sys.modules.get(one.__module__)
            loop = _WATCHED_LOOPS.get(one.__module__)
            if loop is not None and getattr(module, "_worker_loop", loop) is not loop:
                self._patches.replace(module, "_worker_loop", loop)

    def _blind(self) -> bool:
        """Whether this is off, or the copy of it in a forked child: a worker, or one watched anew.

        The pass of an iterator begins here or never, so its other methods need not ask.
        """
        return self._off or os.getpid() != self._pid

    def _fail(self, where: str) -> None:
        if not self._off:
            self._off = True
            self.failures.append(f"watching stopped: {where} failed ({sys.exc_info()[1]!r})")
            log.warning(
                "wellfed: watching failed in %s and is now off; training is not affected",
                where,
                exc_info=True,
            )

    # -- what torch calls ---------------------------------------------------------------------

    def _loader_init(
        self, original: Callable[..., None], loader: Any, *args: Any, **kw: Any
    ) -> None:
        original(loader, *args, **kw)
        if not self._off:
            try:
                self._sites.remember(loader)
            except Exception:
                self._fail("finding the line that built a loader")

    def _iterator_init(
        self, original: Callable[..., None], it: Any, loader: Any, *args: Any, **kw: Any
    ) -> None:
        if not self._blind():
            try:
                self._learn(type(it))
                one = self._recorder(loader).begin(self._clock())
                self._passes[it] = self._building.one = one
            except Exception:
                self._fail("the start of an iterator")
        try:
            original(it, loader, *args, **kw)
        except BaseException:
            self._building.one = None
            raise
        one_built = self._passes.get(it)
        if one_built is not None and one_built.recorder.plan.workers == 0:
            one_built.epoch["ready_ns"] = self._clock()
            self._building.one = None

    def _recorder(self, loader: Any) -> Recorder:
        site, chain = self._sites.of(loader)
        plan = read_plan(loader)
        # One line may build many loaders: by helper functions, or in a loop over settings.
        parts = (type(loader), type(loader.dataset), site, chain, plan, loader.batch_size)
        name = " ".join(str(part) for part in parts)
        recorder = self.recorders.get(name)
        if recorder is None:
            recorder = Recorder(site, loader, plan, self._clock, name=name, garbage=self._garbage)
            self.recorders[name] = recorder
        recorder.loader = weakref.ref(loader)
        return recorder

    def _process_start(self, original: Callable[..., None], process: Any) -> None:
        if self._blind():
            return original(process)
        one = self._building.one
        if getattr(process, "_target", None) in _WATCHED_LOOPS.values():
            began = self._clock()
            try:
                original(process)
            except BaseException:  # e.g. a dataset that cannot be pickled: no iterator comes of it
                self._building.one = None
                raise
            if one is not None:
                one.started(self._clock() - began)
            return None
        if self._before_start is not None and getattr(process, "_target", None) is not serve:
            try:
                self._before_start(process)
            except Exception:
                self._fail("following a process")
        return original(process)

    def _dump(
        self, original: Callable[..., None], given: Any, file: Any, *args: Any, **kw: Any
    ) -> None:
        """What a worker is given is pickled: by spawn and forkserver, in the trainer."""
        one = self._building.one
        if one is None or self._blind():
            return original(given, file, *args, **kw)
        began, before = self._clock(), file.tell()
        original(given, file, *args, **kw)
        one.pickled(self._clock() - began, file.tell() - before)
        return None

    def _reset(
        self,
        original: Callable[..., Any],
        it: Any,
        loader: Any,
        first_iter: bool = False,
        *args: Any,
        **kw: Any,
    ) -> Any:
        one = self._passes.get(it)
        if self._off or one is None:
            return original(it, loader, first_iter, *args, **kw)
        try:
            if first_iter:
                self._lengths.measure(it.__dict__.get("_worker_result_queue"))
            else:
                one.end(self._clock(), complete=False)
                one = self._passes[it] = one.recorder.begin(self._clock())
        except Exception:
            self._fail("the start of an epoch")
        result = original(it, loader, first_iter, *args, **kw)
        one.epoch["ready_ns"] = self._clock()
        self._building.one = None
        return result

    def _next_index(self, original: Callable[..., Any], it: Any) -> Any:
        one = self._passes.get(it)
        if one is None:
            return original(it)
        began = self._clock()
        indices: Any = None
        try:
            indices = original(it)
            return indices
        finally:
            one.indexed(indices, self._clock() - began)

    def _try_get_data(self, original: Callable[..., Any], it: Any, *args: Any, **kw: Any) -> Any:
        result = original(it, *args, **kw)
        one = self._passes.get(it)
        try:
            if one is not None and result[0] and isinstance(result[1], tuple):
                one.arrive(result[1][0])
        except Exception:
            self._fail("reading a worker's note")
        return result

    def _shutdown_workers(self, original: Callable[..., Any], it: Any) -> Any:
        one = self._passes.get(it)
        if one is None or it.__dict__.get("_shutdown", True):
            return original(it)
        began = self._clock()
        try:
            return original(it)
        finally:
            now = self._clock()
            one.epoch["shutdown_ns"] = one.epoch.get("shutdown_ns", 0) + now - began
            if not one.inside:
                one.end(now, complete=False)

    def _iterator_next(self, original: Callable[[Any], Any], it: Any) -> Any:
        one: Pass | None = self._passes.get(it)
        if one is None or one.inside or self._off:
            return original(it)
        if self._before_next is not None:
            entered = self._clock()
            try:
                self._before_next(one.recorder)
            except Exception:
                self._fail("deciding whether to go on")
            one.paused_ns += self._clock() - entered
        return self._watched_next(original, it, one)

    def _watched_next(self, original: Callable[[Any], Any], it: Any, one: Pass) -> Any:
        one.inside = True
        outer = worker.serve(it, one)
        ready = _ready(it, one)
        asked_cpu = time.process_time_ns()
        try:
            one.recorder.stall.asked()
        except Exception:
            self._fail("asking the device for the time")
        asked = self._clock()
        try:
            batch = original(it)
        except StopIteration:
            one.end(self._clock(), complete=True)
            raise
        except BaseException as error:
            error.__traceback__ = frames.strip_traceback(error.__traceback__)
            raise
        finally:
            got = self._clock()
            one.inside = False
            worker.current.maker, worker.current.iterator = outer
        try:
            delivered = (
                one.last if not one.recorder.plan.in_order else it.__dict__.get("_rcvd_idx", 0) - 1
            )
            one.recorder.stall.got(one.recorder.batches)
            one.deliver(delivered, (asked, got, asked_cpu, time.process_time_ns()), ready)
        except Exception:
            self._fail("writing a span")
        return batch


def _ready(it: Any, one: Pass) -> int:
    """Batches that have arrived and wait to be taken; -1 where that cannot be seen."""
    if one.maker is not None:
        return 0
    try:
        return len(one.arrived) + int(it._data_queue.qsize())
    except (AttributeError, NotImplementedError, OSError):
        return -1
