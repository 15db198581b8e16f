"""What the engine's iterator calls while it is watched: its start, its batches, its end.

iterator.__init__        a Pass begins, of the plan that was chosen; workers note closely
iterator.__next__        see `passes`; the stream tells how the batch came
iterator._reset          persistent workers: the next Pass
iterator._shutdown_workers
"""

from collections.abc import Callable
from typing import Any

from wellfed._engine.iterator import EngineIterator
from wellfed._engine.patches import Patches
from wellfed._engine.watch.one_pass import Pass
from wellfed._engine.watch.passes import Passes
from wellfed._engine.watch.recorder import Recorder
from wellfed.records import Plan

__all__ = ["EngineIterators"]


class EngineIterators:
    """The replaced methods of the engine's iterator class."""

    def __init__(self, passes: Passes, recorder_of: Callable[[Any, Plan], Recorder]) -> None:
        self._passes = passes
        self._recorder_of = recorder_of

    def install(self, patches: Patches) -> None:
        """Replace them."""
        patches.wrap(EngineIterator, "__init__", self._init)
        patches.wrap(EngineIterator, "__next__", self._next)
        patches.wrap(EngineIterator, "_reset", self._reset)
        patches.wrap(EngineIterator, "_shutdown_workers", self._shutdown_workers)

    def _init(
        self, original: Callable[..., None], it: Any, loader: Any, *args: Any, **kw: Any
    ) -> None:
        if self._passes.blind:
            return original(it, loader, *args, **kw)
        began_ns = self._passes.clock()
        original(it, loader, *args, **{**kw, "watched": True})
        try:
            # Only now is the plan known where it was left open.
            one = self._passes.begin(it, self._recorder_of(loader, it.plan), began_ns)
            if one.maker is not None:
                one.maker.seeded = it.by_position
            one.epoch["ready_ns"] = self._passes.clock()
            one.epoch["start_ns"] = it.start_ns
            one.epoch["started_workers"] = it.plan.workers
        except Exception:
            self._passes.fail("the start of an iterator")
        return None

    def _reset(
        self, original: Callable[..., Any], it: Any, loader: Any, first_iter: bool = False
    ) -> Any:
        one = self._passes.of(it)
        if self._passes.off or one is None or first_iter:
            return original(it, loader, first_iter)
        try:
            one = self._passes.begin(it, one.recorder)
        except Exception:
            self._passes.fail("the start of an epoch")
        result = original(it, loader, first_iter)
        one.epoch["ready_ns"] = self._passes.clock()
        return result

    def _shutdown_workers(self, original: Callable[..., Any], it: Any) -> Any:
        return self._passes.shut_down(original, it) if it.is_open else original(it)

    def _next(self, original: Callable[[Any], Any], it: Any) -> Any:
        return self._passes.next(original, it, _ready, _deliver)


def _ready(it: EngineIterator, one: Pass) -> int:
    return 0 if one.maker is not None else it.ready()


def _deliver(it: EngineIterator, one: Pass, times: tuple[int, int, int, int], ready: int) -> None:
    if one.recorder.plan != it.plan:  # workers were made anew, one for each logical worker
        one.recorder.plan = it.plan
    one.take(it.delivery, times, ready)
