"""The inline back end: each batch is made in the trainer's process, when it is asked for."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from msgspec.structs import replace
from torch._utils import ExceptionWrapper

from wellfed._engine.away import standing_reason
from wellfed._engine.indices import Lookahead
from wellfed._engine.positions import ByPosition
from wellfed._engine.reading import ahead
from wellfed._engine.rows import rows_of
from wellfed._engine.stateful import has_ended, put_back
from wellfed._engine.torchs import fetcher_of
from wellfed._engine.watch import worker as watching
from wellfed._engine.watch.letters import Delivery
from wellfed._engine.watch.maker import Maker as Noting
from wellfed.job import BEGINNING, Job
from wellfed.records import Plan

__all__ = ["Inline"]

UNTOLD = Delivery(())
"""Of how a batch was made nothing is told but that it was made inside `__next__`."""


class Inline:
    """Makes batches where they are used: rows of tensors at once, all else as torch does.

    Tensors that the user changes in place are read as they are when their batch is made, also
    where torch's workers would hold a copy made when the epoch began.
    """

    name = "inline"

    def refuses(self, job: Job, plan: Plan) -> str | None:
        """With logical workers, only batches that depend on none of them."""
        if plan.workers:
            return f"The plan has {plan.workers} worker processes; inline has none."
        if not job.workers:
            return None
        if job.worker_init is not None:
            return "worker_init_fn is to be called in each worker."
        if rows_of(job) is not None:
            return None
        if not job.by_position:
            return "Fetching a sample may depend on the worker that it is fetched in."
        reason = standing_reason(job)
        return reason and f"Each logical worker needs a process of its own: {reason}."

    def open(
        self,
        job: Job,
        plan: Plan,
        indices: Iterator[Any],
    ) -> "InlineStream":
        """Start an epoch; nothing is read ahead but what torch's workers would have been sent."""
        return InlineStream(job, plan, indices)


class InlineStream:
    """Batches made one by one, each by the call of `__next__` that returns it."""

    backend = Inline.name

    def __init__(self, job: Job, plan: Plan, indices: Iterator[Any]) -> None:
        self.plan = replace(plan, backend=self.backend, workers=0, prefetch=None, start_method=None)
        """How batches are made."""
        self.delivery = UNTOLD
        """How the last batch came."""
        self._noting = Noting(-1, watching.opened_files, sparing=True, seeded=job.by_position)
        self._job = job
        self._ahead = job.workers * ahead(plan)
        self._epoch = job.start.epoch - 1
        self._start = job.start
        self.fetcher: Any = None
        """What makes the batches, where that looks like torch's."""
        self.restart(indices)
        self._start = BEGINNING

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._batches)

    def restart(self, indices: Iterator[Any]) -> None:
        """Begin another epoch: an iterable dataset is asked for a new iterator."""
        self._epoch += 1
        if has_ended(self._start.held.get(0, {})):
            indices = iter(())
        if self._ahead:
            indices = Lookahead(indices, self._ahead)
        # A map reads one index, makes one batch, and goes on after an exception of either.
        self._batches: Iterator[Any] = map(self._maker(), indices)

    def close(self) -> None:
        """End the epoch; nothing else was taken."""
        self._batches = iter(())
        self._noting.close()

    def _maker(self) -> Callable[[Any], Any]:
        """What turns the indices of a batch into the batch."""
        job = self._job
        rows = rows_of(job)
        if rows is not None:
            return _as_from_workers(rows, job) if job.workers else rows
        held = self._start.held.get(0, {})
        put_back(held, dataset=job.dataset)
        fetcher = ByPosition(job, self._epoch) if job.by_position else fetcher_of(job)
        self.fetcher = fetcher
        put_back(held, iterator=getattr(fetcher, "dataset_iter", None))
        known = (*watching.FETCHERS, ByPosition)
        return self._noted(fetcher) if type(fetcher) in known else fetcher.fetch

    def _noted(self, fetcher: Any) -> Callable[[Any], Any]:
        """The fetch of a fetcher that looks like torch's, with a note where there is time for it.

        An observation's maker notes each batch; torch's own fetchers then ask for it themselves.
        """
        fetch = type(fetcher).fetch
        noted = watching.watched_fetch(fetch) if type(fetcher) is ByPosition else fetch

        def made(index: Any) -> Any:
            if watching.current.maker is not None:
                return noted(fetcher, index)
            batch = self._noting.fetch(fetch, fetcher, index)
            note = self._noting.note
            self.delivery = UNTOLD if note is None else Delivery((tuple(note),))
            return batch

        return made


def _as_from_workers(make: Callable[[Any], Any], job: Job) -> Callable[[Any], Any]:
    """The same, with errors that name the logical worker, as torch's do."""
    wrapper: Any = ExceptionWrapper
    numbers = count(job.start.number)

    def made(indices: Any) -> Any:
        number = next(numbers)
        try:
            return make(indices)
        except Exception:
            failure = wrapper(where=f"in DataLoader worker process {number % job.workers}")
        failure.reraise()

    return made
