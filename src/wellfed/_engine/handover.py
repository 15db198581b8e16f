"""How a worker hands over what it made: packed into its slabs, with a record of where it lies."""

import socket
import time
from typing import NamedTuple

from wellfed._engine import wire
from wellfed._engine.board import DROP, FREE, Page
from wellfed._engine.collating import collate_into
from wellfed._engine.failures import packed_failure
from wellfed._engine.making import Made
from wellfed._engine.parcel import Parcel, pack
from wellfed._engine.slabs import Slabs
from wellfed._engine.watch.letters import Letter, written
from wellfed._engine.watch.note import SENT, SERIALISE, SERIALISE_CPU
from wellfed._engine.wire import Kind, Record, Task, room_for_letter

__all__ = ["Handover", "Took"]

_NOTHING = Parcel(-1, 0, 0, ())


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
        self._slabs = Slabs()
        self._lent: set[int] = set()
        collate_into(self._slabs)

    def begin(self) -> None:
        """A batch is about to be made: there is room for it."""
        for slab in list(self._lent):
            said = self._page.heard(slab)
            if said == FREE:
                self._slabs.give_back(slab)
            elif said == DROP:
                self._slabs.drop(slab)
            if said:
                self._lent.discard(slab)
        self._slabs.begin()

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
        if made.streams and kind == Kind.BATCH:
            streams_at, used = self._in_slab(made.streams)
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
            streams_length=len(made.streams),
            used=used,
            fresh=tuple((slab, nbytes) for slab, nbytes, _ in fresh),
            retired=retired,
            body=body,
            letter=noted if at[0] < 0 else b"",
            streams=made.streams if streams_at[0] < 0 else b"",
        )
        wire.send_record(self._own, record, [fd for _, _, fd in fresh])
        self._slabs.told()

    def _in_slab(self, noted: bytes) -> tuple[tuple[int, int], tuple[int, ...]]:
        """Put bytes into the batch's slabs: where they lie, and which slabs that makes."""
        place = self._slabs.place(len(noted))
        self._slabs.view(place.slab)[place.offset : place.offset + len(noted)] = noted
        return (place.slab, place.offset), tuple(self._slabs.seal())
