"""What runs in a worker process of the engine: one loop that takes tasks and sends records.

    own socket ────┐                            ┌── Parcel in a slab
    shared socket ─┴─► Task ─► fetch, collate ──┴─► Record ─► own socket

Guarantees
- everything happens in this thread, in the order of the tasks, except samples of a job whose user
  consented to threads: so an error of pickling is an error and not a batch that is never heard of;
- the batches of a home draw from its streams in order; whatever is made for another home leaves
  the random generators as they were, or is refused;
- it ends when its socket is closed or the trainer dies, between two tasks.
"""

import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.utils.data import _DatasetKind, _utils
from torch.utils.data._utils.fetch import _MapDatasetFetcher

from wellfed._engine import away, wire
from wellfed._engine.board import DROP, FREE, Page
from wellfed._engine.collating import collate_into
from wellfed._engine.failures import packed_failure
from wellfed._engine.parcel import Parcel, pack
from wellfed._engine.randomness import Streams
from wellfed._engine.slabs import Slabs
from wellfed._engine.wire import Kind, Record, Task

__all__ = ["Setup", "run"]

# The dataset is searched for changes at a trial and then at each 64th batch that is made away from
# its home: it takes some 100 µs.
CLOSELY_EVERY = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What every worker of an iterator is told when it starts: the part of a Job that it needs."""

    dataset: Any
    iterable: bool
    batched: bool
    drop_last: bool
    collate: Callable[[Any], Any]
    workers: int
    base_seed: int
    worker_init: Callable[[int], None] | None
    threads: int = 0


def run(
    setup: Setup,
    number: int,
    hosted: tuple[int, ...],
    fds: list[int],
    trainer: int,
    template: socket.socket,
) -> None:
    """Be worker process `number` until the trainer goes away.

    Args:
        setup: what is loaded.
        number: which process this is.
        hosted: the logical workers that live here.
        fds: its own socket, the shared socket, the board.
        trainer: a descriptor of the trainer's process, readable once it is dead.
        template: the template's connection, which is not this process's business.
    """
    template.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    own, shared = (socket.socket(fileno=os.dup(fd)) for fd in fds[:2])
    page = Page.opened(fds[2], number)
    for fd in fds:
        os.close(fd)
    try:
        one = _Worker(setup, hosted, own, page)
        inbox = _Inbox(own, shared, trainer)
        while (task := inbox.next()) is not None:
            one.do(task)
    except (BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        pass  # the trainer has closed the connection, or the user interrupted a sample


class _Inbox:
    """Where the next task comes from."""

    def __init__(self, own: socket.socket, shared: socket.socket, trainer: int) -> None:
        self._own, self._shared, self._trainer = own, shared, trainer
        self._own_fd, self._shared_fd = own.fileno(), shared.fileno()
        self._poll = select.epoll()
        self._poll.register(own, select.EPOLLIN)
        # Exclusive: a task that all of them could take wakes one.
        self._poll.register(shared, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        self._poll.register(trainer, select.EPOLLIN)

    def next(self) -> Task | None:
        """Wait for a task; None when there will be no more."""
        while True:
            ready = {fd for fd, _ in self._poll.poll()}
            if self._trainer in ready:
                return None
            if self._own_fd in ready:
                return wire.read_task(self._own)
            try:
                return wire.read_task(self._shared)
            except BlockingIOError:
                continue  # another worker took it


class _Made(NamedTuple):
    """What came of a task."""

    kind: int
    value: Any = None
    """The batch."""
    body: bytes = b""
    """With RAISED, the pickled exception."""
    why: int = 0


class _Worker:
    """Makes batches."""

    def __init__(
        self, setup: Setup, hosted: tuple[int, ...], own: socket.socket, page: Page
    ) -> None:
        self._setup = setup
        self._own = own
        self._page = page
        self._slabs = Slabs()
        self._lent: set[int] = set()
        self._epoch = 0
        self._exhausted = False
        self._away = 0
        self._failed = b""
        """The exception that the start ended in."""
        torch._C._set_worker_signal_handlers()
        torch.multiprocessing._set_thread_name("pt_data_worker")
        torch.set_num_threads(1)
        self._streams = Streams(setup.base_seed, hosted)
        self._infos = {home: _info(setup, home) for home in hosted}
        collate_into(self._slabs)
        self._fetch: Callable[[Any], Any]
        for home in hosted:
            self._be(home)
            try:
                if setup.worker_init is not None:
                    setup.worker_init(home)
                self._fetch = self._fetch_anew()
            except Exception:
                self._failed = packed_failure(home)
        self._trial = away.Trial(setup.dataset, setup.collate, self._infos[hosted[0]])

    def _be(self, home: int) -> None:
        """From here on this process is logical worker `home`."""
        self._streams.enter(home)
        _utils.worker._worker_info = self._infos[home]

    def _fetch_anew(self) -> Callable[[Any], Any]:
        """Torch's fetcher for an epoch; it asks an iterable dataset to begin."""
        setup = self._setup
        kind = _DatasetKind.Iterable if setup.iterable else _DatasetKind.Map
        fetcher: Any = _DatasetKind.create_fetcher(  # type: ignore[no-untyped-call]
            kind, setup.dataset, setup.batched, setup.collate, setup.drop_last
        )
        return _noting_places(fetcher, self._page) if setup.batched else fetcher.fetch

    def do(self, task: Task) -> None:
        """Make what the task asks for, and say how it went."""
        self._page.number = task.number
        self._hear()
        self._slabs.begin()
        began_ns = time.perf_counter_ns()
        made = self._make_away(task) if task.moved else self._make_at_home(task)
        made_ns = time.perf_counter_ns()
        parcel = Parcel(-1, 0, 0, ())
        if made.kind == Kind.BATCH:
            try:
                parcel = pack(made.value, self._slabs)
            except Exception:  # it cannot be pickled, or there is no memory to put it in
                made = _Made(Kind.RAISED, body=packed_failure(task.home))
        kind, why, body = made.kind, made.why, made.body or parcel.inline
        del made  # a batch that is under way must not be held here
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
            fetch_ns=made_ns - began_ns,
            pack_ns=time.perf_counter_ns() - made_ns,
            used=parcel.used,
            fresh=tuple((slab, nbytes) for slab, nbytes, _ in fresh),
            retired=tuple(self._slabs.retired()),
            body=body,
        )
        wire.send_record(self._own, record, [fd for _, _, fd in fresh])
        self._slabs.told()
        self._page.number = -1

    def _hear(self) -> None:
        """What the trainer has said of the slabs since the last task."""
        for slab in list(self._lent):
            said = self._page.heard(slab)
            if said == FREE:
                self._slabs.give_back(slab)
            elif said == DROP:
                self._slabs.drop(slab)
            if said:
                self._lent.discard(slab)

    def _make_at_home(self, task: Task) -> _Made:
        """As torch's worker would."""
        if self._failed:
            return _Made(Kind.RAISED, body=self._failed)
        self._be(task.home)
        if task.trial:
            self._trial.begin(closely=True)
        try:
            if task.epoch != self._epoch:
                self._epoch, self._exhausted = task.epoch, False
                self._fetch = self._fetch_anew()
            if self._exhausted:
                return _Made(Kind.EXHAUSTED)
            made = _Made(Kind.BATCH, self._fetch(task.index))
        except Exception as error:
            if isinstance(error, StopIteration) and self._setup.iterable:
                self._exhausted = True
                return _Made(Kind.EXHAUSTED)
            made = _Made(Kind.RAISED, body=packed_failure(task.home, self._where(task)))
        return made._replace(why=self._trial.end(take_back=False)) if task.trial else made

    def _make_away(self, task: Task) -> _Made:
        """For whichever home it is, if the batch is a function of its indices alone."""
        if self._failed:
            return _Made(Kind.RAISED, body=self._failed)
        self._trial.begin(closely=task.trial or self._away % CLOSELY_EVERY == 0)
        self._away += 1
        made = _Made(Kind.REFUSED)
        try:
            # A dataset that draws mostly does so at its first sample: then the rest is spared.
            if not (task.trial and task.parts > 1 and self._first_draws(task)):
                made = _Made(Kind.BATCH, self._fetch(task.index))
        except Exception:
            made = _Made(Kind.RAISED, body=packed_failure(task.home, self._where(task)))
        found = self._trial.end(take_back=True)
        if made.kind == Kind.RAISED and task.parts > 1:
            found |= away.RAISED  # with its whole batch it may raise something else
        return _Made(Kind.REFUSED, why=found) if found else made

    def _first_draws(self, task: Task) -> bool:
        self._setup.dataset[task.index[0]]
        return self._trial.drew()

    def _where(self, task: Task) -> Any:
        """The index of the sample that was being fetched; None if it was none in particular."""
        if not self._setup.batched or self._setup.iterable:
            return None if self._setup.iterable else task.index
        place = self._page.place
        try:
            return task.index[place] if place >= 0 else None
        except (TypeError, LookupError):
            return None


def _info(setup: Setup, home: int) -> away.Asked:
    info = away.Asked(home, setup.workers, setup.base_seed + home, setup.dataset)
    object.__setattr__(info, "asked", False)
    return info


def _noting_places(fetcher: Any, page: Page) -> Callable[[Any], Any]:
    """Torch's own way to fetch a batch of a map-style dataset, noting which sample is under way."""
    if type(fetcher) is not _MapDatasetFetcher:
        return fetcher.fetch  # type: ignore[no-any-return]
    dataset, collate = fetcher.dataset, fetcher.collate_fn

    def fetch(indices: Any) -> Any:
        page.place = -1
        if hasattr(dataset, "__getitems__") and dataset.__getitems__:
            return collate(dataset.__getitems__(indices))
        samples = []
        for place, index in enumerate(indices):
            page.place = place
            samples.append(dataset[index])
        page.place = -1
        return collate(samples)

    return fetch
