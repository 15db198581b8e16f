"""What runs in a worker process of the engine: one loop that takes tasks and sends records.

    own socket ────┐             ┌─ Maker ─────────────┐
    shared socket ─┴─► Task ─►───┤                     ├─► Handover ─► own socket
                                 └─ Gang of threads ───┘

Guarantees
- everything happens in this thread, in the order of the tasks, except samples of a job whose user
  consented to threads: so an error of pickling is an error and not a batch that is never heard of;
- the batches of a home draw from its streams in order; whatever is made for another home leaves
  the random generators as they were, or is refused;
- it ends when its socket is closed or the trainer dies, between two tasks; and at any moment when
  the template dies, which ends what outlasts its patience.
"""

import ctypes
import os
import select
import signal
import socket
import time

import torch

from wellfed._engine import wire
from wellfed._engine.board import Page, key_of
from wellfed._engine.gang import Gang, Samples
from wellfed._engine.handover import Handover, Took
from wellfed._engine.making import Made, Maker, Setup
from wellfed._engine.stuck import answer_when_asked
from wellfed._engine.watch.letters import Brief, Letter, side_by_side
from wellfed._engine.watch.maker import Maker as Noting
from wellfed._engine.watch.worker import opened_files
from wellfed._engine.wire import Kind, Task

__all__ = ["run"]

PR_SET_PDEATHSIG = 1  # of prctl(2)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# Larger blocks and surpluses still go back to the kernel: a worker holds no more than it must.
KEPT_BYTES = 256 << 20


def run(
    setup: Setup,
    hosted: tuple[int, ...],
    threads: int,
    fds: list[int],
    trainer: int,
    template: socket.socket,
    parent: int,
) -> None:
    """Be a worker process until the trainer goes away.

    Args:
        setup: what is loaded.
        hosted: the logical workers that live here.
        threads: how many fetch samples beside this one; 0: none.
        fds: its own socket, the shared socket, the board.
        trainer: a descriptor of the trainer's process, readable once it is dead.
        template: the template's connection, which is not this process's business.
        parent: the template's process.
    """
    _end_with(parent)
    template.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch._C._set_worker_signal_handlers()
    torch.multiprocessing._set_thread_name("pt_data_worker")
    _keep_freed_memory()
    own, shared = (socket.socket(fileno=os.dup(fd)) for fd in fds[:2])
    page = Page(fds[2])
    for fd in fds[:2]:
        os.close(fd)
    answer_when_asked(fds[2], page)
    try:
        noting = Noting(
            hosted[0], opened_files, sparing=not setup.watched, seeded=setup.by_position
        )
        if setup.watched:
            opened_files.hook()
        maker, handover = Maker(setup, hosted, page, noting), Handover(own, page)
        inbox = _Inbox(own, shared, trainer, page)
        if threads:
            _Threaded(Gang(setup.dataset, threads), maker, handover, inbox, noting).work()
        since_ns = time.perf_counter_ns()
        while (task := inbox.next()) is not None:
            if task.parts:
                since_ns = _do(task, maker, handover, noting, since_ns)
            else:
                maker.go_on(task)
            inbox.done(task)
    except (BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        pass  # the trainer has closed the connection, or the user interrupted a sample
    finally:
        own.close()
        shared.close()


def _end_with(parent: int) -> None:
    """Be killed when that process dies: a sample that never ends would keep this one for ever."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before this was asked for
        os._exit(1)


def _keep_freed_memory() -> None:
    """Have malloc reuse the memory of a worker's samples, instead of asking for it page by page.

    By default glibc gives a large block back to the kernel when it is freed, and the next sample
    pays a page fault for every 4 KiB. A worker makes the same sizes over and over. With this,
    samples of 3 MB are made 5 times as fast (benchmarks/engine.py, big). What a worker holds is the
    most that its samples ever needed at once, up to `KEPT_BYTES` more.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # the names and numbers of mallopt(3)
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def _do(task: Task, maker: Maker, handover: Handover, noting: Noting, since_ns: int) -> int:
    """Do a task, after being idle since then; returns since when the worker is idle again."""
    taken_ns = time.perf_counter_ns()
    idle_ns = taken_ns - since_ns if since_ns >= 0 else -1
    handover.begin()
    began_ns, began_cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
    noting.took(taken_ns, idle_ns)
    made = maker.away(task) if task.moved else maker.at_home(task)
    cpu_ns = time.thread_time_ns() - began_cpu_ns
    took = Took(taken_ns, idle_ns, time.perf_counter_ns() - began_ns, cpu_ns)
    note, noting.note = noting.note, None
    letter = Letter(note, noting.paths, noting.begun_ns, noting.lines) if note is not None else None
    handover.send(task, made, took, letter)
    return time.perf_counter_ns()


class _Inbox:
    """Where the next task comes from; the page says which are in the worker's hands."""

    def __init__(self, own: socket.socket, shared: socket.socket, trainer: int, page: Page) -> None:
        self._own, self._shared, self._trainer = own, shared, trainer
        self._page = page
        self._own_fd = own.fileno()
        self._poll = select.epoll()
        self._poll.register(own, select.EPOLLIN)
        self._poll.register(trainer, select.EPOLLIN)
        self._sharing = False
        self._wake = -1
        self.share(True)

    def share(self, yes: bool) -> None:
        """Whether to take tasks that any worker may do."""
        if yes and not self._sharing:
            # Exclusive: a task that all of them could take wakes one.
            self._poll.register(self._shared, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        elif self._sharing and not yes:
            self._poll.unregister(self._shared)
        self._sharing = yes

    def also(self, wake: int) -> None:
        """Have `next` return, without a task, when this descriptor is readable."""
        self._wake = wake
        self._poll.register(wake, select.EPOLLIN)

    def next(self) -> Task | None:
        """Wait for a task; None when there will be no more."""
        while True:
            task = self.next_or_woken()
            if task is not WOKEN:
                return task

    def next_or_woken(self) -> Task | None:
        """Wait for a task, or to be woken."""
        while True:
            ready = {fd for fd, _ in self._poll.poll()}
            if self._trainer in ready:
                return None
            if self._wake in ready:
                return WOKEN
            try:
                return self._taken(self._own if self._own_fd in ready else self._shared)
            except BlockingIOError:
                self._page.missed()  # another worker took it

    def _taken(self, source: socket.socket) -> Task | None:
        # In this order: should this process be killed between any two of these lines, then what
        # the trainer finds neither in the queue nor in the hands of the living was taken here.
        self._page.take()
        task = wire.read_task(source)
        if task is not None:
            self._page.hold(key_of(task))
        return task

    def done(self, task: Task) -> None:
        """What came of a task is on its way."""
        self._page.let_go(key_of(task))

    @property
    def full(self) -> bool:
        """Whether no more tasks may be taken."""
        return self._page.full


WOKEN = Task(-1, -1, -1, -1, -1, False, False, -1, None)
"""Stands for a task where there was none."""


class _Threaded:
    """The loop of a worker that has threads."""

    def __init__(
        self, gang: Gang, maker: Maker, handover: Handover, inbox: _Inbox, noting: Noting
    ) -> None:
        self._gang = gang
        self._noting = noting
        self._maker = maker
        self._handover = handover
        self._inbox = inbox
        self._refusing = 0
        """Reasons to refuse all that is under way."""
        inbox.also(self._gang.wake)

    def work(self) -> None:
        """Until there is no more."""
        while True:
            self._inbox.share(self._gang.hungry() and not self._refusing and not self._inbox.full)
            task = self._inbox.next_or_woken()
            if task is None:
                return
            if task is WOKEN:
                self._finish()
            elif not task.parts:
                self._drain()
                self._maker.go_on(task)
                self._inbox.done(task)
            elif task.moved and task.index and not task.trial and not self._refusing:
                if self._gang.idle:
                    self._maker.begin_away(task)
                self._gang.start(task)
            else:
                self._drain()
                _do(task, self._maker, self._handover, self._noting, -1)
                self._inbox.done(task)

    def _drain(self) -> None:
        """Threads and the streams of a home must not meet: wait for what is under way."""
        waiting = select.poll()
        waiting.register(self._gang.wake, select.POLLIN)
        while not self._gang.idle:
            waiting.poll()
            self._finish()

    def _finish(self) -> None:
        for samples in self._gang.finished():
            self._handover.begin()
            collating_ns, collating_cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
            made = self._collated(samples)
            if made.kind == Kind.REFUSED:
                self._refusing |= made.why
            self._send(samples, made, collating_ns, collating_cpu_ns)
        if self._gang.idle and self._refusing:
            self._maker.take_back()
            self._refusing = 0

    def _send(self, samples: Samples, made: Made, since_ns: int, since_cpu_ns: int) -> None:
        """Hand over what came of these samples, collated since then."""
        ended_ns = time.perf_counter_ns()
        collate_cpu_ns = time.thread_time_ns() - since_cpu_ns
        took = Took(
            taken_ns=samples.began_ns,
            idle_ns=-1,
            fetch_ns=ended_ns - samples.began_ns,
            cpu_ns=sum(samples.cpu_ns) + collate_cpu_ns,
        )
        brief = Brief(
            worker=self._noting.worker,
            taken_ns=took.taken_ns,
            idle_ns=-1,
            fetch_ns=took.fetch_ns,
            cpu_ns=took.cpu_ns,
            serialise_ns=-1,
            samples=len(samples.got),
        )
        note = side_by_side(brief, ended_ns - since_ns, collate_cpu_ns, samples.took_ns)
        self._noting.describe(note, made.value)
        letter = Letter(note, self._noting.paths, self._noting.begun_ns, self._noting.lines)
        self._handover.send(samples.task, made, took, letter)
        self._inbox.done(samples.task)

    def _collated(self, samples: Samples) -> Made:
        if self._refusing:
            return Made(Kind.REFUSED, why=self._refusing)
        made = Made(Kind.RAISED, body=samples.failure)
        if not samples.failure:
            made = self._maker.collated(samples.task, samples.got)
        return self._maker.end_away(samples.task, made, take_back=self._gang.idle)
