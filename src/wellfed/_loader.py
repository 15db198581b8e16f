"""A drop-in for torch's DataLoader: the same batches, made by wellfed's own engine.

It composes and decides nothing: what is loaded is read from torch's attributes, who makes it is
looked up, and the iterator does the rest.
"""

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
from wellfed._engine.auto_workers import AutoWorkers
from wellfed._engine.bookmark import Bookmark
from wellfed._engine.device import checked_device
from wellfed._engine.iterator import EngineIterator
from wellfed._engine.stock_resume import stock_iterator
from wellfed._engine.watch.frames import building_site
from wellfed._engine.watch.recorder import Recorder
from wellfed._live import Live
from wellfed._planned.applying import Applied, apply
from wellfed._planned.proving import prove
from wellfed._probes.cpus import usable_cpus
from wellfed._serving import Asked, engine_iterator, limit_bytes, shown_recorder
from wellfed.errors import UsageError
from wellfed.records import Answer, Plan, Report

__all__ = ["DataLoader"]

T = TypeVar("T", covariant=True)

# Lightning makes an iterator when it loads a checkpoint, and uses it for the next epoch where the
# checkpoint was written after the last batch of one. Others loop over what is left: nothing.
NEXT_IF_NONE_LEFT = ("lightning", "pytorch_lightning")


class DataLoader(TorchDataLoader[T]):
    """torch's DataLoader on wellfed's engine: same samples, same order, same random draws.

    All of torch's arguments mean what they mean there.

    Args:
        dataset: as in torch, and so are all others down to `in_order`.
        num_workers: as in torch; or "auto", which chooses how batches are made by timing a few
            samples when the iterator starts, and with `autotune` anew while it goes on. The order
            of samples is then torch's, and random draws depend on the seed, the epoch and the
            position in the epoch alone.
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
    _bookmark: Bookmark | None = None
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
        limit_bytes(memory_limit)
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
        # A subclass may have gone past our `__init__`.
        asked = Asked(*(getattr(self, name, None) for name in Asked._fields))
        return engine_iterator(self, self._seen(), self._came(), tuning, asked)

    def _came(self) -> Bookmark:
        if self._bookmark is None or self._bookmark.loader() is not self:
            self._bookmark = Bookmark(self)
        return self._bookmark

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


def _auto_workers(asked: str, dataset: Any) -> AutoWorkers:
    if asked != "auto":
        raise ValueError(f"num_workers should be an int or 'auto', but got num_workers={asked!r}")
    # More than one worker would give the samples of an iterable dataset several times, unless it
    # divides them among workers, which only its author knows.
    return AutoWorkers(1 if isinstance(dataset, IterableDataset) else usable_cpus())
