"""The iterator of a `wellfed.DataLoader`: torch's protocol on one side, a Stream on the other.

It is one of torch's iterators: torch's own `__init__` and `_reset` run, so the seed is drawn, the
sampler's `__iter__` called and the warnings given when and as often as torch does it. What it adds
is where the batches come from.
"""

import functools
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import _DatasetKind
from torch.utils.data.dataloader import _BaseDataLoaderIter

from wellfed._engine.device import Destination
from wellfed._engine.indices import bulk
from wellfed._engine.reading import read_job
from wellfed._engine.rows import rows_of
from wellfed._engine.staging import staged
from wellfed._engine.worker_pids import WorkerPid
from wellfed.records import Plan
from wellfed.seams import Backend, Stream

__all__ = ["EngineIterator"]


class EngineIterator(_BaseDataLoaderIter):
    """One pass over a loader, or, with persistent workers, one after the other."""

    def __init__(
        self,
        loader: Any,
        backend: Backend,
        plan: Plan,
        copy_to: Callable[[], Destination | None] = lambda: None,
    ) -> None:
        """Draw the seed, start what the plan says, and read ahead as torch does.

        Args:
            loader: a torch.utils.data.DataLoader, or what has its attributes.
            backend: who makes the batches; it does not refuse the loader's job.
            plan: how.
            copy_to: makes what batches are copied to; None: they stay where they are made. Called
                once workers have started, since it may touch the accelerator.
        """
        super().__init__(loader)
        self.backend = backend.name
        """Who makes the batches; "auto" until that is chosen."""
        self._prefetch_factor = loader.prefetch_factor
        self._in_order = loader.in_order
        self._stream: Stream | None = None
        self._copied: Stream | None = None
        """The same batches where they are wanted; the stream itself if there is no destination."""
        self._copy_to = copy_to
        self._job = replace(read_job(loader), base_seed=int(self._base_seed))
        self._open = functools.partial(backend.open, self._job, plan)
        if self._num_workers:
            # Again, because torch's iterator asks the sampler to begin twice where it has workers.
            self._reset(loader, first_iter=True)
            return
        if self._timeout != 0:  # torch's words, for the same mistake
            raise AssertionError("_SingleProcessDataLoaderIter requires timeout == 0")
        self._begin()

    def _reset(self, loader: Any, first_iter: bool = False) -> None:
        super()._reset(loader, first_iter)
        if self._copied is None:
            self._begin()
        else:
            self._copied.restart(self._indices())

    def _begin(self) -> None:
        self._stream = self._copied = self._open(self._indices())
        self.backend = getattr(self._stream, "backend", self.backend)
        destination = self._copy_to()
        if destination is not None:
            self._copied = staged(self._stream, self._job, destination)

    def _indices(self) -> Iterator[Any]:
        """What the sampler yields, asked for as torch asks."""
        asked = _Asked(self._next_index)
        if self.backend not in ("auto", "inline") or rows_of(self._job) is None:
            return asked
        # Tensors of indices, where nothing but our own code sees them.
        return bulk(self._index_sampler) or asked

    def _next_data(self) -> Any:
        if self._copied is None:
            raise StopIteration
        try:
            return next(self._copied)
        except StopIteration:
            # Unless it is the user's own, which ends a loop but not the epoch.
            if not self._persistent_workers and getattr(self._copied, "ended", True):
                self._shutdown_workers()
            raise

    def __next__(self) -> Any:
        # Torch enters its profiler's range at each batch, which takes 5 µs also where no profiler
        # runs, and the warning about lengths is of iterable datasets only.
        if self._dataset_kind == _DatasetKind.Iterable or torch._C._autograd._profiler_enabled():
            return super().__next__()
        data = self._next_data()
        self._num_yielded += 1
        return data

    @property
    def _workers(self) -> list[WorkerPid]:
        return [WorkerPid(pid) for pid in getattr(self._stream, "pids", ())]

    def _shutdown_workers(self) -> None:
        """End the workers, by torch's name for it. Harmless when called twice."""
        copied, self._copied, self._stream = self.__dict__.get("_copied"), None, None
        if copied is not None:
            copied.close()

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
