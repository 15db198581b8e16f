"""The inline back end: each batch is made in the trainer's process, when it is asked for."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from torch._utils import ExceptionWrapper

from wellfed._engine.away import standing_reason
from wellfed._engine.indices import Lookahead
from wellfed._engine.positions import by_position
from wellfed._engine.reading import ahead
from wellfed._engine.rows import rows_of
from wellfed._engine.torchs import fetch_of
from wellfed.job import Job
from wellfed.records import Plan

__all__ = ["Inline"]


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
        self._job = job
        self._ahead = job.workers * ahead(plan)
        self._epoch = -1
        self.restart(indices)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._batches)

    def restart(self, indices: Iterator[Any]) -> None:
        """Begin another epoch: an iterable dataset is asked for a new iterator."""
        self._epoch += 1
        if self._ahead:
            indices = Lookahead(indices, self._ahead)
        # A map reads one index, makes one batch, and goes on after an exception of either.
        self._batches: Iterator[Any] = map(_maker(self._job, self._epoch), indices)

    def close(self) -> None:
        """End the epoch; nothing else was taken."""
        self._batches = iter(())


def _maker(job: Job, epoch: int) -> Callable[[Any], Any]:
    """What turns the indices of a batch into the batch."""
    rows = rows_of(job)
    if rows is None:
        return by_position(job, epoch) if job.by_position else fetch_of(job)
    return _as_from_workers(rows, job.workers) if job.workers else rows


def _as_from_workers(make: Callable[[Any], Any], workers: int) -> Callable[[Any], Any]:
    """The same, with errors that name the logical worker, as torch's do."""
    wrapper: Any = ExceptionWrapper
    numbers = count()

    def made(indices: Any) -> Any:
        number = next(numbers)
        try:
            return make(indices)
        except Exception:
            failure = wrapper(where=f"in DataLoader worker process {number % workers}")
        failure.reraise()

    return made
