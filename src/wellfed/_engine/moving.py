"""The batches of an epoch from one back end, and from some batch on from another.

    sampler ─► Gate ─► the stream there is ── the gate shuts ──► what it had read comes first
                └────► Gate ─► the other one, which starts meanwhile ──► and then all further ones

Where random draws depend on the position in the epoch alone, no batch depends on who makes it.

Guarantees
- each index goes to one of the two, and batches come in the order of the sampler
- where the other one cannot start, all is as it was
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

from wellfed._engine.inline import Inline
from wellfed._engine.positions import samples_in
from wellfed._engine.processes import Processes
from wellfed._engine.reading import ahead
from wellfed._engine.rows import rows_of
from wellfed._engine.switching import read_unnoticed
from wellfed.job import BEGINNING, Job, Start
from wellfed.records import Plan
from wellfed.seams import Backend, Stream

__all__ = ["Gate", "may_move", "moved", "reads_ahead", "why_not_moved"]

_BACKENDS: dict[str, Backend] = {one.name: one for one in (Inline(), Processes())}


class Gate:
    """The indices of one stream, which may have to end before they do."""

    def __init__(self, indices: Iterator[Any], start: Start = BEGINNING) -> None:
        """Open.

        Args:
            indices: what the sampler yields.
            start: where the first of them stands.
        """
        self.indices = indices
        self.number, self.position = start.number, start.position
        """Of the batch after those that were read, and of its first sample."""
        self.shut = False
        self.given: list[Any] | None = None
        """What was read, as long as it may have to be taken back."""

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self.shut:
            raise StopIteration
        index = next(self.indices)
        self.number += 1
        self.position += samples_in(index)
        if self.given is not None:
            self.given.append(index)
        return index


def may_move(job: Job) -> bool:
    """Whether no batch of this job depends on who makes it, nor is one always better at it."""
    return job.by_position and rows_of(job) is None


def why_not_moved(job: Job, plan: Plan, fixed_because: str | None) -> str | None:
    """Why another back end cannot make the rest of the epoch; None if it can.

    Args:
        job: what is loaded; it `may_move`.
        plan: how it would be made.
        fixed_because: why each batch is made by its own worker; None if any may make it.
    """
    backend = _BACKENDS.get(plan.backend)
    if backend is None:
        return f"There is no back end {plan.backend!r} that could take over."
    if fixed_because:
        return f"Each batch is made by its own worker, because {fixed_because}."
    if job.timeout_s and backend.name == Inline.name:
        return "timeout is for worker processes."
    if not read_unnoticed(job):
        return "How far ahead the sampler is read may change what it yields."
    return backend.refuses(job, plan)


def moved(job: Job, plan: Plan, gate: Gate, epoch: int) -> tuple[Stream, Gate]:
    """Start another stream for what was not read yet, and shut the gate of the first.

    Args:
        job: what is loaded.
        plan: how, from here on.
        gate: of the stream that there is.
        epoch: how often the iterator was begun before.

    Raises:
        Exception: what starting raises; then the gate stays open.
    """
    turn = gate.number % max(1, job.workers)
    start = Start(epoch=epoch, number=gate.number, position=gate.position, turn=turn)
    further = Gate(gate.indices, start)
    further.given = []
    try:
        stream = _BACKENDS[plan.backend].open(replace(job, start=start), plan, further)
    except BaseException:
        gate.indices = chain(further.given, gate.indices)
        raise
    further.given = None
    gate.shut = True
    return stream, further


def reads_ahead(job: Job, plan: Plan) -> int:
    """Indices that a stream of this plan reads before the first is delivered, at the most."""
    return max(job.workers, plan.workers) * ahead(plan)
