"""How a worker hands over what it made: packed into its slabs, with a record of where it lies."""

import select
import socket
import time
from typing import NamedTuple

from wellfed._engine import wire
from wellfed._engine.board import DROP, FREE, Page, turn
from wellfed._engine.collating import collate_into
from wellfed._engine.failures import packed_failure
from wellfed._engine.making import Made
from wellfed._engine.parcel import Parcel, pack
from wellfed._engine.slabs import Slabs
from wellfed._engine.watch.letters import Letter, written
from wellfed._engine.watch.note import SENT, SERIALISE, SERIALISE_CPU
from wellfed._engine.wire import NO_TASK, Kind, Record, Task, room_for_letter
from wellfed.errors import SharedMemoryFull
from wellfed.records.amounts import size

__all__ = ["Handover", "Took"]

_NOTHING = Parcel(-1, 0, 0, ())

# How long a worker that lacks memory waits before it looks again whether a slab has come free.
LOOK_MS = 2


class Took(NamedTuple):
    """What a task took, by the worker's clocks."""

    taken_ns: int
    idle_ns: int
    """How long the worker had waited for it; -1 where its threads had others."""
    fetch_ns: int
    cpu_ns: int
    """CPU time of the threads that fetched and collated."""


class Handover:
    """The slabs of a worker and its way to the trainer."""

    def __init__(self, own: socket.socket, page: Page) -> None:
        """From here on torch's `default_collate` stacks into the slabs."""
        self._own = own
        self._page = page
        self._slabs = Slabs(may_grow=self._may_grow)
        self._hang_up = select.poll()
        self._hang_up.register(own, select.POLLRDHUP)
        self._lent: set[int] = set()
        self._turn, self._parts = 0, 1
        collate_into(self._slabs)

    def begin(self, task: Task) -> None:
        """A batch is about to be made: what the last ones no longer need is free for it."""
        self._turn, self._parts = turn(task.epoch, task.number), task.parts
        self._hear()
        self._slabs.begin()
        if self._page.allowance_bytes:
            self._slabs.trim(self._page.allowance_bytes)

    def trim(self) -> None:
        """Give up what the allowance does not hold, and say so, while there is nothing to make."""
        self.begin(NO_TASK)
        self.send(NO_TASK, Made(Kind.REFUSED), Took(0, -1, 0, 0))

    def _hear(self) -> bool:
        """Take back what the trainer has given back since the last time; whether it was any."""
        heard = False
        for slab in list(self._lent):
            said = self._page.heard(slab)
            if said == FREE:
                self._slabs.give_back(slab)
            elif said == DROP:
                self._slabs.drop(slab)
            if said:
                self._lent.discard(slab)
                heard = True
        return heard

    def _may_grow(self, nbytes: int) -> bool:
        """Whether one more slab fits the allowance; else a moment has passed, or one came free.

        The batch that the trainer waits for is made in any case: what would make room for it comes
        after it.

        Raises:
            SharedMemoryFull: it does not fit what all workers together may have.
            BrokenPipeError: the trainer has closed the connection meanwhile.
        """
        page = self._page
        allowance = page.allowance_bytes
        if not allowance or self._slabs.bytes + nbytes <= allowance:
            return True
        whole = nbytes * self._parts
        if whole > page.ceiling_bytes:
            raise SharedMemoryFull(
                f"a batch needs {size(whole)} of shared memory, and all batches under way may take "
                f"{size(page.ceiling_bytes)}. Raise memory_limit, or use smaller batches."
            )
        if self._hear():
            return False
        self._slabs.trim(allowance - nbytes)
        # Threads hold several batches at once, and any of them may be the one.
        wanted = page.wanted and (self._turn <= page.wanted or len(page.held()) > 1)
        if wanted or self._slabs.bytes + nbytes <= allowance:
            return True
        if self._hang_up.poll(LOOK_MS):
            raise BrokenPipeError
        return False

    def send(self, task: Task, made: Made, took: Took, letter: Letter | None = None) -> None:
        """Pack a batch and send word of it, or of what came instead; waits while nobody reads.

        Args:
            task: what was asked for.
            made: what came of it. Hold it no longer: its memory is the trainer's.
            took: how long it took.
            letter: what was noted of its making.

        Raises:
            BrokenPipeError: the trainer has closed the connection.
        """
        began_ns = time.perf_counter_ns()
        began_cpu_ns = time.thread_time_ns() if letter is not None else 0
        kind, why, body, parcel = made.kind, made.why, made.body, _NOTHING
        if kind == Kind.BATCH:
            try:
                parcel = pack(made.value, self._slabs)
                body = parcel.inline
            except Exception:  # it cannot be pickled, or there is no memory to put it in
                kind, body = Kind.RAISED, packed_failure(task.home)
        pack_ns = time.perf_counter_ns() - began_ns
        retired = tuple(self._slabs.retired())
        noted, at, used = b"", (-1, 0), parcel.used
        if letter is not None and kind == Kind.BATCH:
            letter.note[SERIALISE], letter.note[SENT] = pack_ns, began_ns + pack_ns
            letter.note[SERIALISE_CPU] = time.thread_time_ns() - began_cpu_ns
            noted = written(letter)
            # Two places more than there are new slabs: the letter and the streams may need one.
            fresh_slabs = len(self._slabs.fresh()) + 2
            if len(noted) > room_for_letter(len(used), fresh_slabs, len(retired), body):
                at, used = self._in_slab(noted)
        streams_at = (-1, 0)
        # What is raised has no slab, and nobody would give one back.
        if made.rides and kind == Kind.BATCH:
            streams_at, used = self._in_slab(made.rides)
        self._lent.update(used)
        fresh = self._slabs.fresh()
        record = Record(
            kind=kind,
            why=why,
            part=task.part,
            parts=task.parts,
            epoch=task.epoch,
            number=task.number,
            slab=parcel.slab,
            offset=parcel.offset,
            length=parcel.length,
            fetch_ns=took.fetch_ns,
            cpu_ns=took.cpu_ns,
            pack_ns=pack_ns,
            taken_ns=took.taken_ns,
            idle_ns=took.idle_ns,
            letter_slab=at[0],
            letter_offset=at[1],
            letter_length=len(noted),
            streams_slab=streams_at[0],
            streams_offset=streams_at[1],
            streams_length=len(made.rides),
            used=used,
            fresh=tuple((slab, nbytes) for slab, nbytes, _ in fresh),
            retired=retired,
            body=body,
            letter=noted if at[0] < 0 else b"",
            streams=made.rides if streams_at[0] < 0 else b"",
        )
        wire.send_record(self._own, record, [fd for _, _, fd in fresh])
        self._slabs.told()

    def _in_slab(self, noted: bytes) -> tuple[tuple[int, int], tuple[int, ...]]:
        """Put bytes into the batch's slabs: where they lie, and which slabs that makes."""
        place = self._slabs.place(len(noted))
        self._slabs.view(place.slab)[place.offset : place.offset + len(noted)] = noted
        return (place.slab, place.offset), tuple(self._slabs.seal())
