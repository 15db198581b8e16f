"""Watches what happens between two moments of this process, and judges it.

    enter   machine facts · gauges in a process of their own · watch on torch's loaders
            (at once, or as soon as the script imports torch)
    ...     at each batch: progress, and whether enough has been seen; now and again, status
    leave   everything undone; then `diagnose()` makes the Report

Guarantees
- entering and leaving change nothing that the code in between can notice, but a little time;
- neither torch nor NumPy is imported before the code in between does (see `torch_loaded`);
- StopWatching, with which it ends a script, does not leave the `with` block.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from msgspec.structs import replace

from wellfed._attach import children, ranks
from wellfed._attach.audience import Audience
from wellfed._attach.pacer import Limits
from wellfed._attach.stopping import Stopper, Stops
from wellfed._attach.torch_loaded import when_torch_is_loaded
from wellfed._attach.wanted import Wanted
from wellfed._engine.watch.stopping import StopWatching
from wellfed._probes import GaugeSampler, start_gauges, survey_machine
from wellfed.errors import NoVerdict
from wellfed.records import Gauge, LoaderStatus, Machine, Report, Trace, Workload

if TYPE_CHECKING:
    from wellfed._engine.watch.loaders import Watch
    from wellfed._engine.watch.recorder import Recorder
    from wellfed.seams import Sink

__all__ = ["Observation", "Watcher"]

# Redrawing more often than this is not seen and would cost.
PROGRESS_NS = 200_000_000


class Watcher(Protocol):
    """Is told how the watching goes; `wellfed._report.live.Progress` is one."""

    def update(
        self, batches: int, elapsed_s: float, limit_s: float, waiting_share: float, site: str
    ) -> None:
        """At most five times a second, from the thread that trains."""

    def close(self) -> None:
        """Watching is over."""


class Observation:
    """Everything seen between entering and leaving; see the module's picture."""

    def __init__(
        self,
        limits: Limits,
        *,
        progress: Watcher | None = None,
        orders: children.Orders | None = None,
        stops: Stops = Stops.WITH_RANKS,
        tell: Callable[[str], None] | None = None,
        keep_loaders: bool = False,
        export: "Sequence[str | Sink]" = (),
    ) -> None:
        """Prepare; nothing is touched until the `with` block is entered.

        Args:
            limits: when to end the code inside; `Limits(full=True)` never does.
            progress: told how it goes.
            orders: what the parent told, in a watched child; None in the process of the user.
            stops: in whose company the code inside may be ended.
            tell: shown a line where it cannot be ended.
            keep_loaders: whether the loaders seen are kept alive for `confirm`.
            export: sinks, or words that name one, told each second how loaders do.
        """
        self.ended_because = "finished"
        self._limits = limits
        self._progress = progress
        self._orders = orders
        self._stops = stops
        self._tell = tell
        self._keep_loaders = keep_loaders
        self._audience = Audience(export)
        self._loader: Any = None
        self._folder = ""
        self._watch: Watch | None = None
        self._machine: Machine | None = None
        self._sampler: GaugeSampler | None = None
        self._gauges: tuple[Gauge, ...] = ()
        self._seen: tuple[Trace, Workload] | None = None
        self._drawn_ns = 0
        self._most: Recorder | None = None
        """The loader that the consumer spends most time with, as far as batches were asked for."""
        self._forget: Callable[[], None] = lambda: None

    # -- the with block -----------------------------------------------------------------------

    def __enter__(self) -> "Observation":
        self._pid = os.getpid()
        self._audience.open()
        self._stopper = Stopper(self._limits, self._enough, stops=self._stops, tell=self._tell)
        if self._orders is None:
            self._machine = survey_machine()
            self._zero_ns, self._zero_unix_s = time.perf_counter_ns(), time.time()
            self._sampler = start_gauges(self._pid, self._zero_ns)
        else:
            self._zero_ns, self._zero_unix_s = self._orders.zero_ns, self._orders.zero_unix_s
        self._forget = when_torch_is_loaded(self._install)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if not self.at_home:
            return False
        self._stopper.leave()
        ended_ns = time.perf_counter_ns()
        self.ended_because = self._reason(error)
        self._leave()
        if self._orders is None:
            self._seen = self._best(ended_ns)
            if self._folder:
                shutil.rmtree(self._folder, ignore_errors=True)
        else:
            self._report_to_parent(ended_ns)
        self._audience.close(self.diagnose)
        return isinstance(error, StopWatching)

    def _reason(self, error: BaseException | None) -> str:
        if self._stopper.told:  # whatever the script made of it
            return "stopped"
        if isinstance(error, KeyboardInterrupt):
            return "interrupted"
        return "finished" if error is None else "raised"

    def _leave(self) -> None:
        """Undo everything."""
        self._forget()
        if self._progress is not None:
            self._progress.close()
        if self._watch is not None:
            self._watch.undo()
        if self._sampler is not None:
            self._gauges = self._sampler.close()

    def _install(self) -> None:
        from wellfed._engine.watch.loaders import Watch

        self._watch = Watch(
            before_next=self._before_next,
            before_start=self._before_start,
            keep_loaders=self._keep_loaders,
            showing=self._audience.showing,
        )
        self._watch.install()

    @property
    def at_home(self) -> bool:
        """Whether this is the process that entered, not a fork of it (`os.fork`)."""
        return os.getpid() == self._pid

    @property
    def watching(self) -> bool:
        """Whether a batch was seen and more would be: not once the watching itself has failed."""
        watch = self._watch
        return watch is not None and not watch.failures and self._matters() is not None

    @property
    def status(self) -> LoaderStatus | None:
        """How the loader that matters does just now; None before its first batch."""
        matters = self._matters()
        if matters is None:
            return None
        from wellfed._engine.watch.showing import status_of

        return status_of(matters)

    # -- at each batch ------------------------------------------------------------------------

    def _before_next(self, recorder: "Recorder") -> None:
        if not self.at_home:
            return
        # Only this one's time has grown since the last batch.
        if self._most is None or recorder.held_ns > self._most.held_ns:
            self._most = recorder
        self._show(self._most)
        self._stopper.step(recorder, self._most)

    def _show(self, matters: "Recorder") -> None:
        now = time.perf_counter_ns()
        if self._progress is None or now - self._drawn_ns <= PROGRESS_NS:
            return
        self._drawn_ns = now
        self._progress.update(
            matters.batches,
            self._stopper.elapsed_s,
            float("inf") if self._limits.full else self._limits.seconds,
            matters.waited_ns / matters.held_ns if matters.held_ns else 0.0,
            str(matters.site or ""),
        )

    def _before_start(self, process: Any) -> None:
        assert self._watch is not None
        if not self._folder:
            self._folder = (
                self._orders.folder if self._orders else tempfile.mkdtemp(prefix="wellfed-")
            )
        orders = children.Orders(
            limits=self._limits,
            folder=self._folder,
            zero_ns=self._zero_ns,
            zero_unix_s=self._zero_unix_s,
        )
        children.wrap_target(process, children.Watched, orders, self._watch.undo)

    def _matters(self) -> "Recorder | None":
        """The loader that the consumer spends most time with."""
        recorders = list(self._watch.recorders.values()) if self._watch is not None else []
        return max(
            (one for one in recorders if one.batches), key=lambda one: one.held_ns, default=None
        )

    def _enough(self) -> bool:
        matters = self._matters()
        if matters is None:
            return False
        from wellfed._judging import is_enough

        return is_enough(matters.trace(self._zero_ns, time.perf_counter_ns()))

    # -- afterwards ---------------------------------------------------------------------------

    def _report_to_parent(self, ended_ns: int) -> None:
        matters = self._matters()
        if matters is not None and self._orders is not None:
            trace, workload = self._own(matters, ended_ns)
            seen = children.Seen(held_s=matters.held_ns / 1e9, trace=trace, workload=workload)
            seen.save(self._orders.folder)

    def _best(self, ended_ns: int) -> tuple[Trace, Workload] | None:
        """What this process saw, or the child of it that saw most."""
        matters = self._matters()
        held_s = matters.held_ns / 1e9 if matters is not None else 0.0
        left = children.gather(self._folder) if self._folder else []
        best = max(left, key=lambda one: one.held_s, default=None)
        if best is not None and best.held_s > held_s:
            from wellfed._judging import merged

            return merged(best.trace, [one.trace for one in left]), best.workload
        return self._with_others(*self._own(matters, ended_ns)) if matters is not None else None

    def _with_others(self, trace: Trace, workload: Workload) -> tuple[Trace, Workload]:
        """Told to rank 0, or, by rank 0, with what the others tell."""
        from wellfed._judging import rank_seen

        hearing = self._stopper.hearing
        if hearing is None:
            return trace, workload
        own = rank_seen(trace)
        if trace.rank:
            hearing.tell(own)
            return trace, workload
        return replace(trace, ranks=hearing.hear(own)), workload

    def _own(self, matters: "Recorder", ended_ns: int) -> tuple[Trace, Workload]:
        from wellfed._judging import survey

        assert self._watch is not None
        self._loader = matters.loader() if self._keep_loaders else None
        others = [one for one in self._watch.recorders.values() if one is not matters]
        trace = matters.trace(
            self._zero_ns,
            ended_ns,
            began_unix_s=self._zero_unix_s,
            pid=os.getpid(),
            others=tuple(one.seen() for one in others if one.batches),
            failures=tuple(self._watch.failures),
            ended_because=self.ended_because,
        )
        rank, world, _ = self._stopper.group or (0, 1, None)
        local_world = ranks.local_world(os.environ, world)
        trace = replace(trace, rank=rank, world=world, local_world=local_world)
        return trace, survey(matters, trace)

    @property
    def batches(self) -> int:
        """Batches seen of the loader that matters."""
        return len(self._seen[0].spans) if self._seen is not None else 0

    def diagnose(self, command: list[str] | None = None, *, ignore: Sequence[str] = ()) -> Report:
        """Judge what was seen.

        Args:
            command: what would run it again, for the report.
            ignore: names or codes of findings to leave out.

        Raises:
            NoVerdict: no DataLoader was iterated, or none gave a batch.
            UsageError: there is no such finding to ignore.
        """
        if self._seen is None:
            raise NoVerdict(self._nothing_seen())
        from wellfed._insight.ignoring import ignoring
        from wellfed._judging import judge

        return ignoring(judge(*self._seen, self._machine, self._gauges, command), ignore)

    def confirm(
        self,
        report: Report,
        *,
        step: Callable[[Any], object] | None = None,
        budget_s: float,
        ended: bool = False,
        tell: Callable[[str], None] | None = None,
    ) -> Report:
        """Put the judgement to the test by experiments on a copy of the loader that matters.

        Args:
            report: from `diagnose`, of an observation that keeps its loaders.
            step: the training step, where the user handed it over; else the run's are replayed.
            budget_s: seconds that the experiments may take.
            ended: whether the watched program is over: samples may then be read in this process
                where the loader had workers, which may change what its dataset keeps count of.
            tell: shown what is going on, a line at a time.
        """
        from wellfed._attach.experimenting import experiment

        loader, self._loader = self._loader, None
        return experiment(report, loader, step=step, budget_s=budget_s, ended=ended, tell=tell)

    def tune(
        self, report: Report, wanted: Wanted, *, step: Callable[[Any], object] | None = None
    ) -> Report:
        """Try other settings on copies of the loader that matters.

        Args:
            report: from `diagnose`, of an observation that keeps its loaders.
            wanted: what to do, and within what.
            step: the training step, where the user handed it over; else the run's are replayed.

        Raises:
            NoVerdict: nothing can be tried on the loader; says why.
            UsageError: what is to be swept is no setting.
        """
        from wellfed._attach.tuning import tune

        loader, self._loader = self._loader, None
        return tune(report, loader, wanted, step=step)

    def _nothing_seen(self) -> str:
        if self._watch is None:
            return "torch was never imported, so no DataLoader ran. Give the script that trains."
        if self._watch.failures:
            return f"{self._watch.failures[0]}; that is a fault of wellfed, please report it."
        if not self._watch.recorders:
            return (
                "no torch.utils.data.DataLoader was iterated. Give the script that trains; "
                "other loaders are not seen."
            )
        sites = ", ".join(str(one.site) for one in self._watch.recorders.values())
        return f"the DataLoader built at {sites} gave 0 batches. Is its dataset empty?"
