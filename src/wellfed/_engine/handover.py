"""How a worker hands over what it made: packed into its slabs, with a record of where it lies."""

import socket
import time

from wellfed._engine import wire
from wellfed._engine.board import DROP, FREE, Page
from wellfed._engine.collating import collate_into
from wellfed._engine.failures import packed_failure
from wellfed._engine.making import Made
from wellfed._engine.parcel import Parcel, pack
from wellfed._engine.slabs import Slabs
from wellfed._engine.wire import Kind, Record, Task

__all__ = ["Handover"]

_NOTHING = Parcel(-1, 0, 0, ())


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

    def send(self, task: Task, made: Made, fetch_ns: int, cpu_ns: int) -> None:
        """Pack a batch and send word of it, or of what came instead; waits while nobody reads.

        Args:
            task: what was asked for.
            made: what came of it. Hold it no longer: its memory is the trainer's.
            fetch_ns: how long it took.
            cpu_ns: CPU time of this thread meanwhile.

        Raises:
            BrokenPipeError: the trainer has closed the connection.
        """
        began_ns = time.perf_counter_ns()
        kind, why, body, parcel = made.kind, made.why, made.body, _NOTHING
        if kind == Kind.BATCH:
            try:
                parcel = pack(made.value, self._slabs)
                body = parcel.inline
            except Exception:  # it cannot be pickled, or there is no memory to put it in
                kind, body = Kind.RAISED, packed_failure(task.home)
        self._lent.update(parcel.used)
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
            fetch_ns=fetch_ns,
            cpu_ns=cpu_ns,
            pack_ns=time.perf_counter_ns() - began_ns,
            used=parcel.used,
            fresh=tuple((slab, nbytes) for slab, nbytes, _ in fresh),
            retired=tuple(self._slabs.retired()),
            body=body,
        )
        wire.send_record(self._own, record, [fd for _, _, fd in fresh])
        self._slabs.told()
