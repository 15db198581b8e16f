"""The iterator of a `wellfed.DataLoader`: torch's protocol on one side, a Stream on the other.

It is one of torch's iterators: torch's own `__init__` and `_reset` run, so the seed is drawn, the
sampler's `__iter__` called and the warnings given when and as often as torch does it. What it adds
is where the batches come from.
"""

import contextlib
import functools
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import _DatasetKind
from torch.utils.data.dataloader import _BaseDataLoaderIter

from wellfed._engine.bookmark import Bookmark, passed_of, start_of
from wellfed._engine.device import Destination
from wellfed._engine.indices import bulk
from wellfed._engine.moving import Relay, reads_ahead
from wellfed._engine.passage import Passage, Resumption
from wellfed._engine.reading import read_job
from wellfed._engine.resume import Passed
from wellfed._engine.rows import rows_of
from wellfed._engine.staging import staged
from wellfed._engine.watch.letters import Delivery
from wellfed._engine.watch.one_pass import Pass
from wellfed._engine.watch.recorder import Recorder
from wellfed._engine.worker_pids import WorkerPid
from wellfed._limits import Limits
from wellfed.errors import UsageError
from wellfed.job import BEGINNING, Job, Start
from wellfed.records import Plan
from wellfed.seams import Backend, Stream

__all__ = ["EngineIterator"]

_UNTOLD = Delivery(())


class EngineIterator(_BaseDataLoaderIter):
    """One pass over a loader, or, with persistent workers, one after the other."""

    def __init__(
        self,
        loader: Any,
        backend: Backend,
        plan: Plan,
        recorder: Recorder | None = None,
        *,
        watched: bool = False,
        copy_to: Callable[[], Destination | None] = lambda: None,
        bookmark: Bookmark | None = None,
        look: Callable[["EngineIterator", int], float] | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Draw the seed, start what the plan says, and read ahead as torch does.

        Args:
            loader: a torch.utils.data.DataLoader, or what has its attributes.
            backend: who makes the batches; it does not refuse the loader's job.
            plan: how.
            recorder: keeps what each batch took, for the loader's own report.
            watched: whether somebody observes this loader.
            copy_to: makes what batches are copied to; None: they stay where they are made. Called
                once workers have started, since it may touch the accelerator.
            bookmark: told how far the loader has come, and tells where to take it up.
            look: called now and again after a batch was delivered, with the time; it says when to
                be called again. Only with a recorder.
            limits: what its workers and their batches may take.
        """
        self._clock = time.perf_counter_ns  # its own, for `__del__` when the interpreter ends
        self._look = look
        self._look_ns = -1.0 if look is not None and recorder is not None else float("inf")
        began_ns = self._clock()
        resumption = bookmark.taken_up() if bookmark is not None else None
        self._passage = Passage(loader, plan, resumption)
        self.delivered = 0
        """Batches of this pass that were handed over, or raised, in the order of the sampler."""
        self._begun_passes = 0
        if not loader.num_workers and resumption is None:
            self._passage.begin()
        super().__init__(loader)
        self.backend = backend.name
        """Who makes the batches; "auto" until that is chosen."""
        self._prefetch_factor = loader.prefetch_factor
        self._in_order = loader.in_order
        self._stream: Stream | None = None
        self._plan = plan
        self._recorder = recorder
        self._pass: Pass | None = None
        self._ended = False
        self._exit_codes: dict[int, int | None] = {}
        """Of the workers that have ended, by pid: torch's iterator shows them still."""
        self._copied: Stream | None = None
        """The same batches where they are wanted; the stream itself if there is no destination."""
        self._copy_to = copy_to
        self._relay = Relay()
        self._job = replace(
            read_job(loader), base_seed=int(self._base_seed), watched=watched, limits=limits
        )
        if recorder is not None:
            self._job = replace(self._job, died=recorder.died)
        if resumption is not None:
            start = start_of(resumption, self._job)
            self._begun_passes, self.delivered = start.epoch, start.number
            self._job = replace(self._job, base_seed=resumption.passed.base_seed, start=start)
        self._bookmark = bookmark
        self._open = functools.partial(backend.open, self._job, plan)
        if self._num_workers:
            # Again, because torch's iterator asks the sampler to begin twice where it has workers.
            self._reset(loader, first_iter=True)
            self._take_up(resumption)
            self._begin_pass(began_ns)
            return
        if self._timeout != 0:  # torch's words, for the same mistake
            raise AssertionError("_SingleProcessDataLoaderIter requires timeout == 0")
        if resumption is not None:
            self._passage.begin()
            self._sampler_iter = iter(self._index_sampler)
        self._begin()
        self._take_up(resumption)
        self._begin_pass(began_ns)

    def _take_up(self, resumption: Resumption | None) -> None:
        """Drop what was delivered before, where it has to be made again."""
        if self._bookmark is not None:
            self._bookmark.follow(self)
        if resumption is None:
            return
        if resumption.passed.beyond and self.backend == "inline":
            raise UsageError(
                f"the state says that {len(resumption.passed.beyond)} batches were delivered "
                "before their turn, and batches that are made one by one cannot be left out. "
                'Pass plan=Plan(backend="processes", ...), as it was when the state was saved.'
            )
        try:
            for _ in range(resumption.passed.delivered if resumption.again else 0):
                with contextlib.suppress(Exception):
                    self._next_data()
        finally:
            self._passage.settle()

    def passed(self) -> Passed | None:
        """How far this has come; None where what follows shares nothing with it."""
        return passed_of(self)

    def _reset(self, loader: Any, first_iter: bool = False) -> None:
        began_ns = self._clock()
        self._passage.begin()
        super()._reset(loader, first_iter)
        if self._copied is None:
            self._begin()
        else:
            self._end_pass()
            if self._relay.pending:
                self._take_over()
            self._begun_passes += 1
            self.delivered, self._ended = 0, False
            self._copied.restart(self._indices(BEGINNING))
            self._begin_pass(began_ns)

    def _begin(self) -> None:
        self._serve(self._open(self._indices(self._job.start)))

    def _serve(self, stream: Stream) -> None:
        self._stream = self._copied = stream
        self.backend = getattr(self._stream, "backend", self.backend)
        destination = self._copy_to()
        if destination is not None:
            self._copied = staged(self._stream, self._job, destination)
        self._tells = hasattr(self._copied, "delivery")

    def _begin_pass(self, began_ns: int) -> None:
        """What each batch takes is kept from here on."""
        if self._recorder is None:
            return
        first, self._ended = self._pass is None, False
        one = self._pass = self._recorder.begin(began_ns, lightly=True, shown=not self._job.watched)
        one.epoch["ready_ns"] = self._clock()
        if first:
            self._recorder.plan = self.plan
            one.epoch["start_ns"], one.epoch["started_workers"] = self.start_ns, self.plan.workers

    def _end_pass(self) -> None:
        if self._pass is not None:
            self._pass.end(self._clock(), complete=self._ended)

    def _indices(self, start: Start) -> Iterator[Any]:
        """What the sampler yields from there on, asked for as torch asks."""
        asked: Iterator[Any] = _Asked(self._next_index)
        if self.backend in ("auto", "inline") and rows_of(self._job) is not None:
            # Tensors of indices, where nothing but our own code sees them.
            asked = bulk(self._index_sampler) or asked
        asked = self._passage.reads(asked, marked=self._job.by_position)
        return self._relay.gated(self._job, asked, start)

    def _next_data(self) -> Any:
        stream, one = self._copied, self._pass
        if stream is None:
            raise StopIteration
        asked_ns = self._clock() if one is not None else 0
        try:
            data = next(stream)
        except StopIteration:
            if self._relay.due(self.delivered):
                self._take_over()
                return self._next_data()
            # Unless it is the user's own, which ends a loop but not the epoch.
            self._ended = getattr(stream, "ended", True)
            if self._ended and not self._persistent_workers:
                self._shutdown_workers()
            elif self._ended:
                self._end_pass()
            else:
                self.delivered += 1
            raise
        except Exception:
            self.delivered += 1
            raise
        self.delivered += 1
        if one is not None:
            delivery = stream.delivery if self._tells else _UNTOLD  # type: ignore[attr-defined]
            got_ns = self._clock()
            one.take_lightly(delivery, asked_ns, got_ns)
            if got_ns >= self._look_ns and self._look is not None:
                self._look_ns = self._look(self, got_ns)
        return data

    def __next__(self) -> Any:
        # Torch enters its profiler's range at each batch, which takes 5 µs also where no profiler
        # runs, and the warning about lengths is of iterable datasets only.
        if self._dataset_kind == _DatasetKind.Iterable or torch._C._autograd._profiler_enabled():
            return super().__next__()
        data = self._next_data()
        self._num_yielded += 1
        return data

    # -- another plan -------------------------------------------------------------------------

    @property
    def plan(self) -> Plan:
        """How batches are made, once that is chosen."""
        self._plan = getattr(self.__dict__.get("_stream"), "plan", self._plan)
        return self._plan

    def switch(self, plan: Plan) -> str | None:
        """Have the next batches made by another plan, as soon as that changes none of them.

        Returns:
            Why that cannot be; None if it is under way.
        """
        switch: Callable[[Plan], str | None] | None = getattr(self._stream, "switch", None)
        if not self.is_open:
            return "The epoch has ended."
        if self._relay.pending:
            return "It is on its way to another back end."
        if plan.backend != self.backend:
            return self.why_not_moved(plan) or self._move(plan)
        return None if switch is None else switch(plan)

    def why_not_moved(self, plan: Plan) -> str | None:
        """Why the back end of that plan cannot take over within the epoch; None if it can."""
        return self._relay.why_not(self._job, self.backend, plan, self.why_fixed)

    def _move(self, plan: Plan) -> str | None:
        both = reads_ahead(self._job, self.plan) + reads_ahead(self._job, plan)
        self._passage.read_further(both)
        return self._relay.start(self._job, plan, self._begun_passes)

    def _take_over(self) -> None:
        """From here on batches come from the stream that was started for them."""
        before = self._copied
        self._serve(self._relay.take())
        if before is not None:  # in this order: Ctrl-C while it ends loses no batch
            before.close()

    @property
    def why_fixed(self) -> str | None:
        """Why each batch is made by its own worker; None where any may make it."""
        return getattr(self._stream, "why_fixed", None)

    @property
    def switching(self) -> bool:
        """Whether a switch waits until it changes no batch."""
        switching = getattr(self._stream, "switching", None)
        return self._relay.pending or (switching is not None and switching.pending)

    @property
    def switch_refused(self) -> str | None:
        """Why the last switch that was under way came to nothing."""
        return getattr(getattr(self._stream, "switching", None), "refused", None)

    # -- what the stream tells, for whoever observes ------------------------------------------

    @property
    def delivery(self) -> Delivery:
        """How the last batch came."""
        return getattr(self._stream, "delivery", _UNTOLD)

    def ready(self) -> int:
        """Batches that have come and were not taken; -1 where that cannot be seen."""
        ready: Callable[[], int] | None = getattr(self._stream, "ready", None)
        return ready() if ready is not None else -1

    @property
    def start_ns(self) -> list[int]:
        """How long starting took: of what workers come from, then of asking for each of them."""
        return list(getattr(self._stream, "start_ns", ()))

    @property
    def is_open(self) -> bool:
        """Whether there is a stream to be ended."""
        return self.__dict__.get("_stream") is not None

    @property
    def job(self) -> Job:
        """What it loads."""
        return self._job

    @property
    def by_position(self) -> bool:
        """Whether random draws depend on the position in the epoch alone."""
        return self._job.by_position

    # -- the end ------------------------------------------------------------------------------

    @property
    def _workers(self) -> list[WorkerPid]:
        ended = getattr(self._stream, "exit_codes", self._exit_codes)
        if ended:
            return [WorkerPid.ended(pid, code) for pid, code in ended.items()]
        # The same ones each time: letting go of one runs Python, where Ctrl-C would be lost.
        before, pids = self.__dict__.get("_shown", {}), getattr(self._stream, "pids", ())
        self._shown = {pid: before.get(pid) or WorkerPid(pid) for pid in pids}
        return list(self._shown.values())

    def _shutdown_workers(self) -> None:
        """End the workers, by torch's name for it. Harmless when called twice."""
        bookmark = self.__dict__.get("_bookmark")
        if bookmark is not None:
            bookmark.leave(self)
        copied, self._copied = self.__dict__.get("_copied"), None
        if copied is not None:
            self._plan = self.plan
        stream, self._stream = self.__dict__.get("_stream"), None
        if "_relay" in self.__dict__:
            self._relay.close()
        if copied is None:
            return
        began_ns = self._clock()
        copied.close()
        self._exit_codes = getattr(stream, "exit_codes", {})
        one = self.__dict__.get("_pass")
        if one is not None:
            one.epoch["shutdown_ns"] = self._clock() - began_ns
            self._end_pass()

    def __del__(self) -> None:
        self._shutdown_workers()


class _Asked:
    """An iterator that asks a method; one that has ended is asked again, as torch does.

    It does not keep the method's object alive: an iterator that is dropped ends its workers at
    once, and not when a cycle is collected.
    """

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask = weakref.WeakMethod(ask)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        ask = self._ask()
        if ask is None:
            raise StopIteration
        return ask()
