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
- the methods are replaced on torch's classes, so subclasses are seen and no object changes its
  class, its pickling, its `len` or its attributes; `undo()` puts everything back;
- the originals run, with the user's arguments, once, and their exceptions pass;
- a failure in the watching itself switches it off, with one warning; training goes on;
- a process forked from the one that installed it sees nothing through the copy that it got.
"""

import functools
import logging
import multiprocessing
import multiprocessing.process
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from torch.utils.data import DataLoader, _utils
from torch.utils.data import dataloader as torch_loader

from wellfed._engine import frames, worker
from wellfed._engine.recorder import Pass, Recorder
from wellfed._engine.stopping import StopWatching
from wellfed.records import Plan, Site

__all__ = ["StopWatching", "Watch", "read_plan"]

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
        self._sites: dict[int, tuple[weakref.ref[Any], Site | None, tuple[str, ...]]] = {}
        # Not an attribute of the iterator: two watches may see one iterator.
        self._passes: weakref.WeakKeyDictionary[Any, Pass] = weakref.WeakKeyDictionary()
        self._undo: list[tuple[Any, str, Any, Any]] = []
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
        self._wrap(DataLoader, "__init__", self._loader_init)
        self._wrap(base, "__init__", self._iterator_init)
        self._wrap(base, "__next__", self._iterator_next)
        self._wrap(base, "_next_index", self._next_index)
        self._wrap(multiprocessing.process.BaseProcess, "start", self._process_start)
        self._learn(torch_loader._MultiProcessingDataLoaderIter)
        self._replace(_utils.worker, "_worker_loop", worker.watched_loop)
        self._wrap(_utils.pin_memory, "_pin_memory_loop", self._pin_loop)
        for kind in worker.FETCHERS:
            self._replace(kind, "fetch", worker.watched_fetch(kind.fetch))

    def undo(self) -> None:
        """Put back all that `install` replaced, and stop seeing. Harmless when called twice."""
        self._off = True
        for owner, name, original, ours in reversed(self._undo):
            # Somebody may have wrapped ours since: then it stays, and only passes calls on.
            if vars(owner).get(name) is ours:
                setattr(owner, name, original)
        self._undo.clear()
        self._known.clear()
        for one in self._passes.values():
            one.close()
        self._passes.clear()

    def _wrap(self, owner: Any, name: str, ours: Callable[..., Any]) -> None:
        original = vars(owner)[name]

        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return ours(original, *args, **kwargs)

        self._replace(owner, name, wrapper)

    def _replace(self, owner: Any, name: str, ours: Any) -> None:
        self._undo.append((owner, name, vars(owner)[name], ours))
        setattr(owner, name, ours)

    def _learn(self, kind: type) -> None:
        """Wrap an iterator class that brings its own delivery loop (torch's, torchdata's)."""
        for one in kind.__mro__:
            if one in self._known:
                continue
            self._known.add(one)
            if "_try_get_data" in vars(one):
                self._wrap(one, "_try_get_data", self._try_get_data)
                self._wrap(one, "_reset", self._reset)
                self._wrap(one, "_shutdown_workers", self._shutdown_workers)
            module = sys.modules.get(one.__module__)
            loop = _WATCHED_LOOPS.get(one.__module__)
            if loop is not None and getattr(module, "_worker_loop", loop) is not loop:
                self._replace(module, "_worker_loop", loop)

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
                self._remember_site(loader)
            except Exception:
                self._fail("finding the line that built a loader")

    def _remember_site(self, loader: Any) -> tuple[Site | None, tuple[str, ...]]:
        site, chain = frames.building_site(sys._getframe(2), loader)
        key = id(loader)
        gone = weakref.ref(loader, lambda _: self._sites.pop(key, None))
        self._sites[key] = (gone, site, chain)
        return site, chain

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
        known = self._sites.get(id(loader))
        if known is not None and known[0]() is loader:
            site, chain = known[1], known[2]
        else:  # unpickled or copied: told by the line that iterates it
            site, chain = self._remember_site(loader)
        plan = read_plan(loader)
        # One line may build many loaders: by helper functions, or in a loop over settings.
        parts = (type(loader), type(loader.dataset), site, chain, plan, loader.batch_size)
        name = " ".join(str(part) for part in parts)
        recorder = self.recorders.get(name)
        if recorder is None:
            recorder = Recorder(site, loader, plan, self._clock, name=name)
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
                one.epoch.setdefault("start_ns", []).append(self._clock() - began)
                one.epoch["started_workers"] = one.epoch.get("started_workers", 0) + 1
            return None
        if self._before_start is not None:
            try:
                self._before_start(process)
            except Exception:
                self._fail("following a process")
        return original(process)

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
                self._measure_messages(it)
            else:
                one.end(self._clock(), complete=False)
                one = self._passes[it] = one.recorder.begin(self._clock())
        except Exception:
            self._fail("the start of an epoch")
        result = original(it, loader, first_iter, *args, **kw)
        one.epoch["ready_ns"] = self._clock()
        self._building.one = None
        return result

    @staticmethod
    def _measure_messages(it: Any) -> None:
        """Note the length of each message that the result queue of this iterator receives."""
        queue = it.__dict__.get("_worker_result_queue")
        receive = getattr(queue, "_recv_bytes", None)
        if receive is None:
            return

        def measured(*args: Any) -> Any:
            message = receive(*args)
            worker.current.message_bytes = len(message)
            return message

        queue._recv_bytes = measured

    def _next_index(self, original: Callable[..., Any], it: Any) -> Any:
        one = self._passes.get(it)
        if one is None:
            return original(it)
        began = self._clock()
        try:
            return original(it)
        finally:
            one.sampler_ns += self._clock() - began

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

    def _pin_loop(
        self, original: Callable[..., Any], in_queue: Any, out_queue: Any, *args: Any
    ) -> Any:
        timed = _PinTimes(in_queue, out_queue, self._clock)
        return original(_Side(in_queue, get=timed.get), _Side(out_queue, put=timed.put), *args)

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


class _Side:
    """A queue with one of its methods replaced."""

    def __init__(self, queue: Any, **methods: Any) -> None:
        self._queue = queue
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


class _PinTimes:
    """Times the pinning thread: from taking a batch to putting it on."""

    def __init__(self, in_queue: Any, out_queue: Any, clock: Callable[[], int]) -> None:
        self._in = in_queue
        self._out = out_queue
        self._clock = clock
        self._began_ns = 0

    def get(self, *args: Any, **kw: Any) -> Any:
        taken = self._in.get(*args, **kw)
        self._began_ns = self._clock()
        return taken

    def put(self, item: Any, *args: Any, **kw: Any) -> Any:
        mail = getattr(item[0], "mail", None)
        if mail is not None:
            mail.pin_ns = self._clock() - self._began_ns
        return self._out.put(item, *args, **kw)


def _ready(it: Any, one: Pass) -> int:
    """Batches that have arrived and wait to be taken; -1 where that cannot be seen."""
    if one.maker is not None:
        return 0
    try:
        return len(one.arrived) + int(it._data_queue.qsize())
    except (AttributeError, NotImplementedError, OSError):
        return -1


def read_plan(loader: Any) -> Plan:
    """The plan of one of torch's loaders, from its attributes."""
    workers = int(loader.num_workers)
    context = loader.multiprocessing_context
    if workers == 0:
        method = None
    elif context is not None:
        method = context.get_start_method()
    else:
        # Not get_start_method(): asking for the default fixes it for the rest of the script.
        method = multiprocessing.get_start_method(allow_none=True)
        method = method or multiprocessing.get_all_start_methods()[0]
    return Plan(
        workers=workers,
        prefetch=loader.prefetch_factor if workers else None,
        pin_memory=bool(loader.pin_memory),
        persistent=bool(loader.persistent_workers),
        in_order=bool(getattr(loader, "in_order", True)),
        start_method=method,
    )
