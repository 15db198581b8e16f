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
from wellfed.errors import WellfedError
from wellfed.job import Job, Start
from wellfed.records import Plan
from wellfed.seams import Backend, Stream

__all__ = ["Relay", "reads_ahead"]

_BACKENDS: dict[str, Backend] = {one.name: one for one in (Inline(), Processes())}


class Gate:
    """The indices of one stream, which may have to end before they do."""

    def __init__(self, indices: Iterator[Any], start: Start) -> None:
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


class Relay:
    """Hands the passes of one iterator over from one stream to another."""

    def __init__(self) -> None:
        """No pass has begun."""
        self._gate: Gate | None = None
        """Of the stream that there is; None where no other may take over."""
        self._further: tuple[Stream, Gate] | None = None
        """The one that does, once all that was read for the first is delivered."""

    def gated(self, job: Job, indices: Iterator[Any], start: Start) -> Iterator[Any]:
        """The indices for the stream of a pass that begins there."""
        # Rows of tensors in memory are always quicker in place.
        if not job.by_position or rows_of(job) is not None:
            return indices
        self._gate = Gate(indices, start)
        return self._gate

    @property
    def pending(self) -> bool:
        """Whether another stream has started, and waits for its turn."""
        return self._further is not None

    def why_not(self, job: Job, now: str, plan: Plan, fixed_because: str | None) -> str | None:
        """Why another back end cannot make the rest of the pass; None if it can.

        Args:
            job: what is loaded.
            now: the back end that makes it.
            plan: how it would be made.
            fixed_because: why each batch is made by its own worker; None if any may make it.
        """
        backend = _BACKENDS.get(plan.backend)
        if self._gate is None or backend is None:
            return f"Its batches are made by the back end {now!r} until the epoch ends."
        if fixed_because:
            return f"Each batch is made by its own worker, because {fixed_because}."
        if job.timeout_s and backend.name == Inline.name:
            return "timeout is for worker processes."
        if not read_unnoticed(job):
            return "How far ahead the sampler is read may change what it yields."
        return backend.refuses(job, plan)

    def start(self, job: Job, plan: Plan, epoch: int) -> str | None:
        """Start another stream for what was not read yet, and shut the gate of the first.

        Args:
            job: what is loaded; nothing speaks against moving.
            plan: how, from here on.
            epoch: how often the iterator was begun before.

        Returns:
            Why it cannot start; None if it has.
        """
        gate = self._gate
        assert gate is not None
        turn = gate.number % max(1, job.workers)
        start = Start(epoch=epoch, number=gate.number, position=gate.position, turn=turn)
        further = Gate(gate.indices, start)
        further.given = []
        try:
            stream = _BACKENDS[plan.backend].open(replace(job, start=start), plan, further)
        except BaseException as error:
            gate.indices = chain(further.given, gate.indices)
            if isinstance(error, WellfedError):
                return str(error)
            raise
        further.given = None
        gate.shut = True
        self._further = stream, further
        return None

    def due(self, delivered: int) -> bool:
        """Whether the first has no more to give, with so many batches delivered."""
        return (
            self._further is not None
            and self._gate is not None
            and (delivered == self._gate.number)
        )

    def take(self) -> Stream:
        """The other stream, which is the one that there is from here on."""
        assert self._further is not None
        stream, self._gate = self._further
        self._further = None
        return stream

    def close(self) -> None:
        """End what waits for its turn."""
        further, self._further = self._further, None
        if further is not None:
            further[0].close()


def reads_ahead(job: Job, plan: Plan) -> int:
    """Indices that a stream of this plan reads before the first is delivered, at the most."""
    return max(job.workers, plan.workers) * ahead(plan)
