"""A drop-in for torch's DataLoader: the same batches, made by wellfed's own engine.

It composes and decides nothing: what is loaded is read from torch's attributes, who makes it is
looked up, and the iterator does the rest.
"""

import functools
import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from msgspec.structs import replace
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import Dataset, IterableDataset, Sampler
from torch.utils.data.dataloader import _BaseDataLoaderIter

from wellfed._engine import resume
from wellfed._engine.auto import Auto
from wellfed._engine.auto_workers import AutoWorkers
from wellfed._engine.device import checked_device, destination
from wellfed._engine.inline import Inline
from wellfed._engine.iterator import EngineIterator
from wellfed._engine.processes import Processes
from wellfed._engine.progress import Progress
from wellfed._engine.reading import read_job, read_plan
from wellfed._engine.rows import rows_of
from wellfed._engine.stock import why_stock
from wellfed._engine.stock_resume import stock_iterator
from wellfed._engine.watch.frames import building_site
from wellfed._engine.watch.recorder import Recorder
from wellfed._engine.watch.showing import Showing
from wellfed._forecast import read_limits, within
from wellfed._limits import Limits
from wellfed._live import Live
from wellfed._planned.applying import Applied, apply
from wellfed._planned.proving import prove
from wellfed._probes.cpus import usable_cpus
from wellfed._sizes import read_size
from wellfed._status import StatusFile
from wellfed.errors import UsageError
from wellfed.job import Job
from wellfed.records import Answer, Plan, Report, Site
from wellfed.seams import Backend

__all__ = ["DataLoader", "engine_iterator", "shown_recorder"]

log = logging.getLogger(__name__)

T = TypeVar("T", covariant=True)

# Batches that a report is made of: 2 MB, and twenty seconds at 5 ms a step.
REPORTED = 4_096

# Lightning makes an iterator when it loads a checkpoint, and uses it for the next epoch where the
# checkpoint was written after the last batch of one. Others loop over what is left: nothing.
NEXT_IF_NONE_LEFT = ("lightning", "pytorch_lightning")

BACKENDS: tuple[Backend, ...] = (Auto(), Inline(), Processes())
"""Who can make batches; the first that does not refuse a job makes it."""


class DataLoader(TorchDataLoader[T]):
    """torch's DataLoader on wellfed's engine: same samples, same order, same random draws.

    All of torch's arguments mean what they mean there.

    Args:
        dataset: as in torch, and so are all others down to `in_order`.
        num_workers: as in torch; or "auto", which chooses how batches are made by timing a few
            samples when the iterator starts. The order of samples is then torch's, and random
            draws depend on the seed, the epoch and the position in the epoch alone.
        plan: how batches are made, by hand: a `wellfed.records.Plan`, or a file that
            `wellfed tune --plan` wrote. By default it follows from `num_workers` and
            `prefetch_factor`, and so it does where a file's plan does not hold here.
        thread_safe: your consent that samples may be fetched by several threads at once.
        device: where batches are wanted, such as "cuda" or "cuda:1": what `pin_memory=True` would
            pin arrives there, copied while you step, and ready for your current stream. None or
            "cpu": where it is made.
        snapshot_every_n_steps: with each how manyth of its batches a worker asks a dataset that has
            a `state_dict` for its state; 0: never. All else of `state_dict` costs nothing.
        autotune: whether to adapt the plan while training: the number of worker processes, their
            threads (with `thread_safe`), how far to read ahead. Only what changes no batch, and
            only where it pays before the epoch ends; `report()` says what was done and why. A
            `plan` by hand, and `num_workers=0`, are left alone.
        memory_limit: what worker processes and batches under way may take, in bytes or as "8GiB".
            By default this process's share of what the machine and its control groups leave when
            the iterator starts. Near it fewer batches are made ahead; batches that you keep are
            yours.

    Raises:
        ValueError: as torch's DataLoader does.
        UsageError: the plan cannot serve this loader, there is no such device, or the limit is
            no size; the message says why.
        ReportError: the plan's file cannot be read; the message says why.
        PlanTooLarge: when iterated: its workers do not fit, and fewer could not serve it.
    """

    plan: Plan | None
    autotune: bool
    thread_safe: bool
    memory_limit: int | str | None
    _recorder: Recorder | None = None
    _progress: Progress | None = None
    _tuned: Answer | None = None
    """What was measured of a plan from a file, until that was confirmed."""
    _plan_file: str = ""
    _live: Live | None = None
    device: str | torch.device | None

    def __init__(
        self,
        dataset: Dataset[T],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler[Any] | Iterable[Any] | None = None,
        batch_sampler: Sampler[list[Any]] | Iterable[list[Any]] | None = None,
        num_workers: int | str = 0,
        collate_fn: Callable[[list[T]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        plan: "Plan | str | os.PathLike[str] | None" = None,
        thread_safe: bool = False,
        device: str | torch.device | None = None,
        snapshot_every_n_steps: int | None = 1,
        autotune: bool = True,
        memory_limit: int | str | None = None,
    ) -> None:
        checked_device(device)
        if isinstance(num_workers, str):
            num_workers = _auto_workers(num_workers, dataset)
        if isinstance(plan, (str, os.PathLike)):
            given = Applied(num_workers, prefetch_factor, pin_memory, None)
            size = batch_size if batch_sampler is None else None
            applied = apply(plan, dataset, collate_fn, size, given, thread_safe=thread_safe)
            num_workers, prefetch_factor, pin_memory, plan, self._tuned, self._plan_file = applied
        self.plan = plan
        self.thread_safe = thread_safe
        self.device = device
        self.snapshot_every_n_steps = snapshot_every_n_steps
        self.autotune = autotune
        self.memory_limit = memory_limit
        _limit_bytes(memory_limit)
        super().__init__(
            dataset,
            batch_size,
            shuffle,
            sampler,
            batch_sampler,
            num_workers,
            collate_fn,
            pin_memory,
            drop_last,
            timeout,
            worker_init_fn,
            multiprocessing_context,
            generator,
            prefetch_factor=prefetch_factor,
            persistent_workers=persistent_workers,
            pin_memory_device=pin_memory_device,
            in_order=in_order,
        )
        site, _ = building_site(sys._getframe(1), self)
        self._recorder = shown_recorder(self, site)

    def _get_iterator(self) -> _BaseDataLoaderIter:
        live = self._circle()
        try:
            iterator = self._on_engine(live)
        except UsageError:
            if self._tuned is None or self.plan is None:
                raise
            self._forget_plan()  # it was a file's word, not the caller's
            iterator = self._on_engine(live)
        tuned, self._tuned = self._tuned, None
        if iterator is None:
            return stock_iterator(self, super()._get_iterator, self._came())
        live.began(iterator)
        if tuned is not None:
            prove(iterator, tuned, self._plan_file, self._forget_plan)
        return iterator

    def _on_engine(self, live: Live) -> EngineIterator | None:
        tuning = live if self._tunes_itself() else None
        return engine_iterator(self, self._seen(), self._came(), tuning)

    def _came(self) -> Progress:
        if self._progress is None or self._progress.loader() is not self:
            self._progress = Progress(self)
        return self._progress

    def state_dict(self) -> dict[str, Any]:
        """Where this loader stands, to go on from there: see `load_state_dict`.

        It may be asked at any moment: between two batches, between epochs, before the first. It is
        plain data, which `torch.save` writes and `torch.load(weights_only=True)` reads.
        """
        return resume.plain(self._came().position(self))

    def load_state_dict(self, state: dict[str, Any], *, replay: bool | None = None) -> None:
        """Go on from where a loader stood: the next iterator gives what that one had left to give.

        Args:
            state: what `state_dict` returned, of a loader made as this one is.
            replay: whether to make what was delivered again and drop it; None: where batches depend
                on something that the state cannot hold, which is then logged.

        Raises:
            UsageError: it is no such state, or this loader would give other batches; the message
                says what differs.
        """
        caller = str(sys._getframe(1).f_globals.get("__name__")).partition(".")[0]
        self._came().load(self, state, replay, next_if_none_left=caller in NEXT_IF_NONE_LEFT)

    def _forget_plan(self) -> None:
        """From the next iterator on `num_workers` decides again."""
        self.plan = None

    def _circle(self) -> Live:
        # A copy of a loader has none of the original's iterators.
        live = self._live = self._live or Live(self._seen())
        return live

    def _tunes_itself(self) -> bool:
        """A plan that was given by hand stays, and so does what the trainer does itself."""
        # A subclass may have gone past our `__init__`.
        asked = getattr(self, "autotune", True), getattr(self, "plan", None)
        return asked == (True, None) and self.num_workers > 0

    def switch(self, plan: Plan) -> None:
        """Make batches by another plan from here on, also in the midst of an epoch.

        No batch is lost or made twice, and none is changed: neither their order nor what their
        samples draw. Workers that are too many make what they have begun, and end; of new ones the
        first batches come once they have started.

        Args:
            plan: who makes the batches: its `backend`, `workers`, `prefetch` and `threads` are
                taken. All else stays as it is until the next iterator, which begins with it.

        Raises:
            UsageError: that would change a batch, or cannot be; the message says why.
        """
        self._circle().switch(plan)
        self.plan = plan

    def _seen(self) -> Recorder:
        # A copy of a loader has nothing of what the original has seen.
        if self._recorder is None or self._recorder.loader() is not self:
            self._recorder = shown_recorder(self)
        return self._recorder

    def report(self) -> Report:
        """What this loader has done so far, and which resource bounds it: as `diagnose` says it.

        It may be asked at any moment, also within an epoch; it takes a second. What it knows is
        the last 4,096 batches. `wellfed.observe` and `wellfed diagnose` see more: each batch
        closely, the files that samples come from, and what the machine does meanwhile.

        Raises:
            UsageError: there is nothing to report on; the message says why.
        """
        recorder = self._seen()
        if not recorder.batches:
            raise UsageError(self._why_nothing())
        from wellfed._judging import report_of

        return replace(report_of(recorder), changes=self._circle().changes)

    def _why_nothing(self) -> str:
        stock = self.__dict__.get("_said_stock")
        if stock:
            return (
                f"torch's own iterator serves this loader, and keeps no report. {stock} "
                "Use `with wellfed.observe() as seen: ...` and `seen.diagnose()`."
            )
        return "this loader has delivered no batch yet. Iterate it, then ask for its report."


def shown_recorder(loader: Any, site: Site | None = None) -> Recorder:
    """What keeps the last batches of a loader on the engine, and shows it to `wellfed top`.

    Args:
        loader: one of torch's, or ours.
        site: the line that built it; None if that was not seen.
    """
    showing = Showing([StatusFile()])
    return Recorder(site, loader, read_plan(loader), most_spans=REPORTED, showing=showing)


def engine_iterator(
    loader: Any,
    recorder: Recorder | None = None,
    progress: Progress | None = None,
    live: Live | None = None,
) -> EngineIterator | None:
    """An iterator of the engine over any of torch's loaders; None if torch's own must serve it.

    Args:
        loader: one of torch's, or ours.
        recorder: keeps what each batch took.
        progress: told how far the loader has come, and tells where to take it up.
        live: tunes it while it trains, from the plan that was found in earlier epochs.

    Raises:
        UsageError: the loader has a plan or a device that cannot serve it.
    """
    # A class of somebody else may have a `plan` of its own, or a `device`.
    ours = isinstance(loader, DataLoader)
    asked = getattr(loader, "plan", None) if ours else None
    device = getattr(loader, "device", None) if ours else None
    reason = why_stock(loader)
    if reason is None and asked is not None and asked.backend == "torch":
        reason = "The plan asks for torch's own iterator."
    if reason is not None:
        _refuse_device(device, reason)
        _say_once(loader, reason)
        return None
    checked_device(device)  # it may have been another machine's
    if loader.num_workers:
        loader.check_worker_number_rationality()
    job = read_job(loader)
    refusals = []
    look = None if live is None else live.look
    if live is not None and live.plan is not None and not Processes().refuses(job, live.plan):
        asked = live.plan
    for backend in BACKENDS:
        plan = _plan_for(backend, loader, asked)
        if plan is None:
            continue
        refusal = backend.refuses(job, plan)
        if refusal is None:
            copy_to = functools.partial(destination, device, loader.pin_memory)
            # Reading them takes 0.7 ms, which an epoch of rows in memory may take in all.
            limits = _limits_of(loader, plan, recorder) if _starts_workers(backend, job) else None
            if limits is not None and asked is None and backend.name == "processes":
                plan = within(plan, limits)
            return EngineIterator(
                loader,
                backend,
                plan,
                recorder,
                copy_to=copy_to,
                progress=progress,
                look=look,
                limits=limits,
            )
        refusals.append(refusal)
    if asked is None:
        _refuse_device(device, " ".join(refusals))
        return None
    raise UsageError(
        f"the plan cannot serve this loader: backend={asked.backend!r}, workers={asked.workers}. "
        f"{' '.join(refusals)} Leave plan=None, or change it."
    )


def _refuse_device(device: Any, reason: str) -> None:
    """Batches of torch's own iterator are not copied to a device."""
    if checked_device(device) is not None:
        raise UsageError(
            f"device={str(device)!r} needs the engine, and torch's own iterator must serve this "
            f"loader. {reason} Leave device=None and move batches yourself."
        )


def _plan_for(backend: Backend, loader: Any, asked: Plan | None) -> Plan | None:
    if asked is not None:
        return asked if asked.backend == backend.name else None
    found = replace(read_plan(loader), backend=backend.name)
    return replace(found, workers=0) if backend.name == "inline" else found


def _starts_workers(backend: Backend, job: Job) -> bool:
    """Whether there may be processes that take memory."""
    if backend.name == "auto":
        return rows_of(job) is None or job.worker_init is not None
    return backend.name != "inline"


def _limits_of(loader: Any, plan: Plan, recorder: Recorder | None) -> Limits:
    asked = getattr(loader, "memory_limit", None) if isinstance(loader, DataLoader) else None
    say = recorder.limited if recorder is not None else _log_only
    return read_limits(plan, _limit_bytes(asked), say)


def _limit_bytes(asked: Any) -> int | None:
    if asked is None:
        return None
    if isinstance(asked, str):
        return read_size(asked, 'memory_limit="8GiB"')
    if isinstance(asked, bool) or not isinstance(asked, int) or asked <= 0:
        raise UsageError(f'memory_limit={asked!r} is no size. Write bytes, or "8GiB".')
    return asked


def _log_only(direction: str, sentence: str) -> None:
    log.log(logging.WARNING if direction == "less" else logging.DEBUG, "%s", sentence)


def _auto_workers(asked: str, dataset: Any) -> AutoWorkers:
    if asked != "auto":
        raise ValueError(f"num_workers should be an int or 'auto', but got num_workers={asked!r}")
    # More than one worker would give the samples of an iterable dataset several times, unless it
    # divides them among workers, which only its author knows.
    return AutoWorkers(1 if isinstance(dataset, IterableDataset) else usable_cpus())


def _say_once(loader: Any, reason: str) -> None:
    if not loader.__dict__.get("_said_stock"):
        loader.__dict__["_said_stock"] = reason
        where = "main process" if multiprocessing.parent_process() is None else "child process"
        log.info("torch's own iterator serves this loader (%s). %s", where, reason)
