"""What torch's own iterators call while they are watched: their start, their messages, their end.

    iterator.__init__        a Pass begins: start-up is timed
      Process.start            each worker's start is timed
        reduction.dump           what spawn and forkserver pickle for it, too
    iterator.__next__        see `passes`
      _try_get_data            which batch's message arrived, with the worker's note
    iterator._reset          persistent workers: the next Pass
    iterator._shutdown_workers

The one object that is touched is the queue that workers answer through (see `messages`).
"""

import multiprocessing.reduction
import sys
import threading
from collections.abc import Callable
from typing import Any

from torch.utils.data import _utils
from torch.utils.data import dataloader as torch_loader

from wellfed._engine.iterator import EngineIterator
from wellfed._engine.patches import Patches
from wellfed._engine.watch import worker
from wellfed._engine.watch.messages import MessageLengths
from wellfed._engine.watch.one_pass import Pass
from wellfed._engine.watch.passes import Passes
from wellfed._engine.watch.recorder import Recorder

__all__ = ["WATCHED_LOOPS", "TorchIterators"]

WATCHED_LOOPS = {
    "torch.utils.data._utils.worker": worker.watched_loop,
    "torchdata.stateful_dataloader.stateful_dataloader": worker.watched_torchdata_loop,
}
"""What runs in the workers of a module's loaders while they are watched."""

# Epochs whose workers are looked at closely from their first batch on: three tell what happens in
# each, and now and then one more, whether that is still so.
CLOSE_EPOCHS, CLOSELY_EVERY = 3, 8


class _Building(threading.local):
    one: Pass | None = None


class TorchIterators:
    """The replaced methods of torch's iterator classes."""

    def __init__(self, passes: Passes, recorder_of: Callable[[Any], Recorder]) -> None:
        self._passes = passes
        self._recorder_of = recorder_of
        self._lengths = MessageLengths()
        self._known: set[type] = set()
        self._building = _Building()

    @property
    def building(self) -> Pass | None:
        """The pass whose iterator is being made by this thread."""
        return self._building.one

    def install(self, patches: Patches) -> None:
        """Replace the methods that all iterators share; those of a class come with `learn`."""
        base = torch_loader._BaseDataLoaderIter
        patches.wrap(base, "__init__", self._init)
        patches.wrap(base, "__next__", self._next)
        patches.wrap(base, "_next_index", self._passes.next_index)
        patches.replace(_utils.worker, "_worker_loop", worker.watched_loop)
        patches.wrap(multiprocessing.reduction, "dump", self._dump)
        self._patches = patches
        self.learn(torch_loader._MultiProcessingDataLoaderIter)

    def undo(self) -> None:
        """Touch nothing any more."""
        self._lengths.undo()
        self._known.clear()

    def learn(self, kind: type) -> None:
        """Wrap an iterator class that brings its own delivery loop (torch's, torchdata's)."""
        for one in kind.__mro__:
            if one in self._known:
                continue
            self._known.add(one)
            if "__next__" in vars(one) and one is not torch_loader._BaseDataLoaderIter:
                self._patches.wrap(one, "__next__", self._next)
            if "_try_get_data" in vars(one):
                self._patches.wrap(one, "_try_get_data", self._try_get_data)
                self._patches.wrap(one, "_reset", self._reset)
                self._patches.wrap(one, "_shutdown_workers", self._shutdown_workers)
            module = sys.modules.get(one.__module__)
            loop = WATCHED_LOOPS.get(one.__module__)
            if loop is not None and getattr(module, "_worker_loop", loop) is not loop:
                self._patches.replace(module, "_worker_loop", loop)

    def start_worker(self, original: Callable[..., None], process: Any) -> None:
        """A worker is started, by the iterator that is being made."""
        one = self._building.one
        began = self._passes.clock()
        try:
            original(process)
        except BaseException:  # e.g. a dataset that cannot be pickled: no iterator comes of it
            self._building.one = None
            raise
        if one is not None:
            one.started(self._passes.clock() - began)

    # -- what torch calls ---------------------------------------------------------------------

    def _init(
        self, original: Callable[..., None], it: Any, loader: Any, *args: Any, **kw: Any
    ) -> None:
        if isinstance(it, EngineIterator):  # its own `__init__` is watched, which calls this one
            return original(it, loader, *args, **kw)
        if not self._passes.blind:
            try:
                self.learn(type(it))
                begun = self._building.one = self._passes.begin(it, self._recorder_of(loader))
                worker.current.known = _is_known(begun.epoch["index"])
            except Exception:
                self._passes.fail("the start of an iterator")
        try:
            original(it, loader, *args, **kw)
        except BaseException:
            self._building.one = None
            raise
        one = self._passes.of(it)
        if one is not None and one.recorder.plan.workers == 0:
            one.epoch["ready_ns"] = self._passes.clock()
            self._building.one = None
        return None

    def _dump(
        self, original: Callable[..., None], given: Any, file: Any, *args: Any, **kw: Any
    ) -> None:
        one = self._building.one
        if one is None or self._passes.blind:
            return original(given, file, *args, **kw)
        began, before = self._passes.clock(), file.tell()
        original(given, file, *args, **kw)
        one.pickled(self._passes.clock() - began, file.tell() - before)
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
        one = self._passes.of(it)
        if self._passes.off or one is None:
            return original(it, loader, first_iter, *args, **kw)
        try:
            if first_iter:
                self._lengths.measure(it.__dict__.get("_worker_result_queue"))
            else:
                one = self._passes.begin(it, one.recorder)
        except Exception:
            self._passes.fail("the start of an epoch")
        result = original(it, loader, first_iter, *args, **kw)
        one.epoch["ready_ns"] = self._passes.clock()
        self._building.one = None
        return result

    def _try_get_data(self, original: Callable[..., Any], it: Any, *args: Any, **kw: Any) -> Any:
        result = original(it, *args, **kw)
        one = self._passes.of(it)
        try:
            if one is not None and result[0] and isinstance(result[1], tuple):
                one.arrive(result[1][0])
        except Exception:
            self._passes.fail("reading a worker's note")
        return result

    def _shutdown_workers(self, original: Callable[..., Any], it: Any) -> Any:
        if it.__dict__.get("_shutdown", True):
            return original(it)
        return self._passes.shut_down(original, it)

    def _next(self, original: Callable[[Any], Any], it: Any) -> Any:
        return self._passes.next(original, it, _ready, _deliver)


def _deliver(it: Any, one: Pass, times: tuple[int, int, int, int], ready: int) -> None:
    in_order = one.recorder.plan.in_order
    one.deliver(it.__dict__.get("_rcvd_idx", 0) - 1 if in_order else one.last, times, ready)


def _ready(it: Any, one: Pass) -> int:
    if one.maker is not None:
        return 0
    try:
        return len(one.arrived) + int(it._data_queue.qsize())
    except (AttributeError, NotImplementedError, OSError):
        return -1


def _is_known(epoch: int) -> bool:
    """Whether the workers of an epoch need no close look: it costs a worker some milliseconds, all
    in all, which short epochs would pay again and again.
    """
    return epoch >= CLOSE_EPOCHS and epoch % CLOSELY_EVERY != 0
