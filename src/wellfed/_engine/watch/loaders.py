"""Every DataLoader of the process, watched: whoever built it, torch's iterators and the engine's.

    DataLoader.__init__      remember the line that built it
    its iterators            see `torch_iterators` and `engine_iterators`
    Process.start            each worker's start is timed; children of the script can be followed

Guarantees
- methods are replaced on the classes, so subclasses are seen and no loader or iterator changes its
  class, its pickling, its `len` or its attributes; `undo()` puts everything back;
- the originals run, with the user's arguments, once, and their exceptions pass;
- a failure in the watching itself switches it off, with one warning; training goes on;
- a process forked from the one that installed it sees nothing through the copy that it got.
"""

import multiprocessing
import multiprocessing.process
import time
import weakref
from collections.abc import Callable
from typing import Any

from torch.utils.data import DataLoader, _utils

from wellfed._engine.patches import Patches
from wellfed._engine.reading import read_plan
from wellfed._engine.template import serve
from wellfed._engine.watch import worker
from wellfed._engine.watch.engine_iterators import EngineIterators
from wellfed._engine.watch.garbage import Garbage
from wellfed._engine.watch.passes import Passes
from wellfed._engine.watch.pinning import timed_pin_loop
from wellfed._engine.watch.recorder import Recorder
from wellfed._engine.watch.showing import Showing
from wellfed._engine.watch.sites import Sites
from wellfed._engine.watch.stopping import StopWatching
from wellfed._engine.watch.torch_iterators import WATCHED_LOOPS, TorchIterators
from wellfed.records import Plan

__all__ = ["StopWatching", "Watch"]


class Watch:
    """Sees every DataLoader of this process while installed."""

    def __init__(
        self,
        *,
        before_next: Callable[[Recorder], None] | None = None,
        before_start: Callable[[Any], None] | None = None,
        keep_loaders: bool = False,
        showing: Callable[[], Showing] | None = None,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Prepare; nothing is watched until `install`.

        Args:
            before_next: called when a batch is about to be asked for; may raise StopWatching.
            before_start: called with each multiprocessing process of the script that is about to
                start, loader workers excepted.
            keep_loaders: whether the last loader of each line is kept alive, to be used afterwards.
            showing: makes, for each loader, who is told how it does.
            clock: monotonic nanoseconds, the same in every process.
        """
        self.recorders: dict[str, Recorder] = {}
        self._before_start = before_start
        self._keep_loaders = keep_loaders
        self._showing = showing
        self._clock = clock
        self._sites = Sites()
        self._patches = Patches()
        self._garbage = Garbage(clock)
        self._passes = Passes(before_next, clock)
        self._torchs = TorchIterators(self._passes, self._recorder)
        self._engines = EngineIterators(self._passes, self._recorder)

    @property
    def failures(self) -> list[str]:
        """What failed of the watching itself, a sentence each."""
        return self._passes.failures

    # -- installing ---------------------------------------------------------------------------

    def install(self) -> None:
        """Begin to see loaders."""
        self._passes.open()
        self._patches.wrap(DataLoader, "__init__", self._loader_init)
        self._patches.wrap(multiprocessing.process.BaseProcess, "start", self._process_start)
        self._torchs.install(self._patches)
        self._engines.install(self._patches)
        self._patches.wrap(_utils.pin_memory, "_pin_memory_loop", timed_pin_loop(self._clock))
        for kind in worker.FETCHERS:
            self._patches.replace(kind, "fetch", worker.watched_fetch(kind.fetch))
        self._garbage.listen()

    def undo(self) -> None:
        """Put back all that `install` replaced, and stop seeing. Harmless when called twice."""
        self._passes.close()
        self._patches.undo()
        self._garbage.undo()
        self._torchs.undo()

    # -- what torch calls ---------------------------------------------------------------------

    def _loader_init(
        self, original: Callable[..., None], loader: Any, *args: Any, **kw: Any
    ) -> None:
        original(loader, *args, **kw)
        if not self._passes.off:
            try:
                self._sites.remember(loader)
            except Exception:
                self._passes.fail("finding the line that built a loader")

    def _process_start(self, original: Callable[..., None], process: Any) -> None:
        if self._passes.blind:
            return original(process)
        target = getattr(process, "_target", None)
        if target in WATCHED_LOOPS.values():
            return self._torchs.start_worker(original, process)
        if self._before_start is not None and target is not serve:
            try:
                self._before_start(process)
            except Exception:
                self._passes.fail("following a process")
        return original(process)

    def _recorder(self, loader: Any, plan: Plan | None = None) -> Recorder:
        """What is kept of a loader, by the line that built it and the plan it runs under."""
        site, chain = self._sites.of(loader)
        plan = plan or read_plan(loader)
        # One line may build many loaders: by helper functions, or in a loop over settings.
        parts = (type(loader), type(loader.dataset), site, chain, plan, loader.batch_size)
        name = " ".join(str(part) for part in parts)
        recorder = self.recorders.get(name)
        if recorder is None:
            recorder = self.recorders[name] = Recorder(
                site,
                loader,
                plan,
                self._clock,
                name=name,
                garbage=self._garbage,
                showing=self._showing() if self._showing is not None else None,
            )
        # An iterator does not keep its loader: one that is built in the head of a loop is gone.
        recorder.loader = (lambda: loader) if self._keep_loaders else weakref.ref(loader)
        return recorder
