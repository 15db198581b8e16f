"""The worker processes of one iterator, as the trainer sees them.

    Crew ── Task ──► worker 0, 1, ...        one socket each, and one that all read from
         ◄─ Record ─
         ◄─ death ──                         a process descriptor each: seen at once

A worker sits on a seat: tasks are sent to seats. Its process has a number that no other ever has,
so that batches of a process that died, and was replaced on its seat, are still told from others.

Nothing here blocks but `poll`, and nothing here decides: which batch goes where is the Flow's, and
what a death comes to is decided in `deaths`.
"""

import contextlib
import multiprocessing
import os
import select
import signal
import socket
import time
import weakref
from collections import deque
from multiprocessing.util import Finalize
from typing import Any

from wellfed._engine import wire
from wellfed._engine.interrupts import Calm
from wellfed._engine.making import Setup
from wellfed._engine.member import Member, send_all
from wellfed._engine.owed import Dead, Owed
from wellfed._engine.shelves import Shelves
from wellfed._engine.template import Template
from wellfed._engine.wire import Record, Task
from wellfed._engine.worker_pids import exit_code_of

__all__ = ["Crew"]

# Once their sockets are closed, workers end as soon as their sample is fetched. What takes longer
# than this, all of them together, is killed.
CLOSE_S = 2.0


class Crew:
    """Worker processes, their sockets and their slabs."""

    def __init__(self, setup: Setup, context: Any) -> None:
        """Start what they come from; there are none yet.

        Args:
            setup: what each is told.
            context: the multiprocessing context that says how to start; None for the default.
        """
        self._pid = os.getpid()
        self._closed = False
        # Before multiprocessing ends the template, at the end of a program that keeps its iterator.
        self._at_exit = Finalize(None, _close, (weakref.ref(self),), exitpriority=10)
        self._members: dict[int, Member] = {}
        """By the number of the process."""
        self._seats: list[int] = []
        """Which process sits there."""
        self._next = 0
        self.shelves = Shelves(self._members, self._seats)
        """Their slabs, and those that are left of others."""
        self.owed = Owed()
        """The tasks that are out."""
        self.dead: list[int] = []
        """Processes that have died and are not replaced; all that they sent was read."""
        self.gone: list[int] = []
        """Those that have left as they were asked to; all that they sent was read."""
        self._unsent: deque[Task] = deque()
        self._poll = select.epoll()
        self._by_fd: dict[int, int] = {}
        self.exit_codes: dict[int, int | None] = {}
        """How the processes ended, by their pids, once they have; None where that is not known."""
        began_ns = time.perf_counter_ns()
        self._template = Template(setup, context or multiprocessing)
        self.start_ns = [time.perf_counter_ns() - began_ns]
        """How long starting the template took, and then asking for each process."""
        self._poll.register(self._template, select.EPOLLIN)
        self._to_all, self._from_all = wire.pair()
        self._to_all.setblocking(False)
        self._from_all.setblocking(False)

    def add(self, hosted: tuple[int, ...], threads: int = 0) -> None:
        """One more process. It is not waited for: tasks may be sent to it at once.

        Args:
            hosted: the logical workers that live in it.
            threads: how many fetch samples side by side in it; 0: it has but one.
        """
        began_ns = time.perf_counter_ns()
        self._seats.append(self._started(Member(len(self._seats), hosted, threads)))
        self.shelves.share_out()
        self.start_ns.append(time.perf_counter_ns() - began_ns)

    def _started(self, member: Member) -> int:
        number, self._next = self._next, self._next + 1
        try:
            fds = [member.theirs.fileno(), self._from_all.fileno(), member.board.fd]
            self._template.ask(number, member.hosted, member.threads, fds)
        finally:
            member.theirs.close()
            member.board.close()
        self._members[number] = member
        self._poll.register(member.socket, select.EPOLLIN)
        self._by_fd[member.socket.fileno()] = number
        return number

    def __len__(self) -> int:
        return len(self._seats)

    @property
    def members(self) -> list[Member]:
        """Who sits where."""
        return [self._members[process] for process in self._seats]

    @property
    def pids(self) -> list[int]:
        """The processes; waits until all are there, unless it is at its end."""
        if not self._closed:
            self._meet_all()
        return [self._members[process].pid for process in self._seats]

    @property
    def met_pids(self) -> list[int]:
        """The processes that are known to be there."""
        pids = (self._members[number].pid for number in self._seats)
        return [pid for pid in pids if pid > 0]

    def _meet_all(self) -> None:
        while any(member.descriptor < 0 for member in self._members.values()):
            self._meet()

    def _meet(self) -> None:
        """The template has forked one more, if that is what it says."""
        forked = self._template.forked()
        if forked is None:
            return
        number, pid, descriptor = forked
        self._members[number].pid, self._members[number].descriptor = pid, descriptor
        self._by_fd[descriptor] = number
        self._poll.register(descriptor, select.EPOLLIN)

    def send(self, task: Task, seat: int | None) -> None:
        """Have a task done, by who sits there or by whichever is idle."""
        process = None if seat is None else self._seats[seat]
        queue = self._unsent if process is None else self._members[process].unsent
        queue.append(task)
        if task.parts:  # else no record answers it
            self.owed.sent(task, process)
        self.flush()

    def flush(self) -> None:
        """Send what did not fit into a socket's buffer before."""
        send_all(self._to_all, self._unsent)
        for member in self._members.values():
            if member.unsent:
                send_all(member.socket, member.unsent)

    def poll(self, within_s: float | None) -> list[tuple[int, int]]:
        """Wait for news of any kind, which `read` then takes. Nothing is lost if it is not.

        Args:
            within_s: how long to wait; 0: not at all; None: for ever.
        """
        return self._poll.poll(within_s)

    def read(self, news: list[tuple[int, int]]) -> list[tuple[int, Record]]:
        """Records that have come, with the number of the process; who died is in `dead` then.

        Raises:
            RuntimeError: the template died, and with it every worker.
        """
        came: list[tuple[int, Record]] = []
        for fd, _ in news:
            if fd == self._template.fileno():
                self._meet()
                continue
            number = self._by_fd[fd]
            member = self._members[number]
            came += [(number, record) for record in self._records(member)]
            if fd == member.descriptor:
                # Whatever it had sent is read: the dead send nothing more.
                self._poll.unregister(fd)
                (self.gone if member.left else self.dead).append(number)
        for number, record in came:
            self.owed.came(number, record)
        return came

    def _records(self, member: Member) -> list[Record]:
        """All that has come: its window bounds how much a worker may have sent."""
        came: list[Record] = []
        try:
            while (read := wire.read_record(member.socket)) is not None:
                record, fds = read
                for (slab, nbytes), fd in zip(record.fresh, fds, strict=True):
                    member.shelf.adopt(slab, nbytes, fd)
                for slab in record.retired:
                    member.shelf.drop(slab)
                came.append(record)
        except BlockingIOError:
            return came
        if member.connected:
            # The process descriptor will say so too.
            self._poll.unregister(member.socket)
            member.connected = False
        return came

    # -- those who leave ----------------------------------------------------------------------

    @property
    def several(self) -> bool:
        """Whether there is, or was, more than one process: tasks for anyone are in one queue."""
        return self._next > 1

    def warm(self, first: int) -> bool:
        """Whether all processes from this seat on have started."""
        return all(self._members[number].page.warm for number in self._seats[first:])

    def leave(self, seats: slice) -> None:
        """Have the processes on these seats end, once they have made what they have taken.

        What they were sent for themselves and is still here goes to whichever is idle: they must
        not be homes of anything that is out.
        """
        for number in self._seats[seats]:
            member = self._members[number]
            member.leaving = True
            # Not what was no batch: word of memory, or of streams that it is no home of any more.
            batches = [task for task in member.unsent if task.number >= 0]
            for task in batches:
                self.owed.shared(task, number)
            self._unsent.extend(batches)
            member.unsent = deque([wire.LEAVE])
        del self._seats[seats]
        self.flush()

    def house(self, homes: int) -> None:
        """Have each of so many logical workers live on one seat: k on seat k mod seats."""
        for seat, number in enumerate(self._seats):
            member = self._members[number]
            member.seat = seat
            member.hosted = tuple(range(seat, homes, len(self._seats))) or (seat % homes,)

    # -- the dead -----------------------------------------------------------------------------

    def pid_of(self, process: int) -> int:
        """Its process number, as the system counts."""
        return self._members[process].pid

    def exit_code(self, process: int) -> int | None:
        """How a dead one ended: its exit code, or minus the signal; None if that is unknown."""
        code = self._template.exit_code(process)
        while self._template.waiting:
            self._meet()
        return code

    @property
    def replaceable(self) -> bool:
        """Whether there is a template to fork others from."""
        return self._template.alive

    @property
    def living(self) -> int:
        """Processes that there are, those that are about to leave included."""
        return len(self._members) - len(self.dead)

    def left_by(self, process: int) -> Dead:
        """What a dead one's page shows."""
        page = self._members[process].page
        return Dead(process, tuple(page.held()), page.taking)

    def recall(self) -> int:
        """Take back what is sent to all and nobody has taken; how many tasks that is."""
        queued = len(self._unsent)
        self._unsent.clear()
        while wire.withdraw(self._from_all):
            queued += 1
        return queued

    def held(self) -> set[int]:
        """Keys of the tasks in the hands of those who live, now that the queue is empty."""
        living = [member for number, member in self._members.items() if number not in self.dead]
        if any(not member.has_taken() for member in living):
            self._meet_all()
            for member in living:
                if member.page.taking:  # nobody knows what it has: it is not to have anything
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(member.descriptor, signal.SIGKILL)
        return {key for member in living for key in member.page.held()}

    def hosted(self, seat: int) -> tuple[int, ...]:
        """The logical workers that live there."""
        return self._members[self._seats[seat]].hosted

    def replace(self, process: int, needed: set[int]) -> int | None:
        """Have another worker take the seat of one that died.

        Args:
            process: the dead one's number.
            needed: its slabs that are to be unpacked yet.

        Returns:
            The seat; None if it was about to leave, and has none.
        """
        self.dead.remove(process)
        old = self._departs(process, needed)
        if old.leaving:
            return None
        self._seats[old.seat] = self._started(Member(old.seat, old.hosted, old.threads))
        self.shelves.share_out()
        return old.seat

    def bury(self, process: int, needed: set[int]) -> None:
        """Give back what one that has left leaves, but slabs that are to be unpacked yet."""
        self.gone.remove(process)
        self.exit_code(process)  # so that it is reaped
        self._departs(process, needed)

    def _departs(self, process: int, needed: set[int]) -> Member:
        old = self._members.pop(process)
        del self._by_fd[old.descriptor]
        if old.connected:
            self._poll.unregister(old.socket)
        self._by_fd.pop(old.socket.fileno(), None)
        old.socket.close()
        os.close(old.descriptor)
        self.shelves.outlive(process, old, needed)
        return old

    def seat_of(self, process: int) -> int:
        """Where a process sits, or sat."""
        member = self._members.get(process)
        return member.seat if member is not None else self.shelves.seat_of(process)

    # -- the end ------------------------------------------------------------------------------

    def dismiss(self) -> None:
        """End all processes, and keep what they come from: others may be added."""
        self._meet_all()
        leaving = select.poll()
        left = {member.descriptor for member in self._members.values()}
        for fd in left:
            leaving.register(fd, select.POLLIN)
        self._hang_up()
        deadline = time.monotonic() + CLOSE_S
        while left and (wait_s := deadline - time.monotonic()) > 0:
            for fd, _ in leaving.poll(wait_s * 1000):
                leaving.unregister(fd)
                left.discard(fd)
        for fd in left:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        for number, member in self._members.items():
            if number not in self.dead + self.gone:
                self._poll.unregister(member.descriptor)
            os.close(member.descriptor)
            member.shelf.close()
        self._members.clear()
        self._seats.clear()
        self._by_fd, self.dead, self.gone = {}, [], []
        self.owed.clear()

    def _hang_up(self) -> None:
        for member in self._members.values():
            # Not only closed: processes forked since may hold copies of the socket.
            with contextlib.suppress(OSError):
                member.socket.shutdown(socket.SHUT_RDWR)
            # The garbage collector has closed it already where it takes all of an iterator at once.
            if member.connected and member.socket.fileno() >= 0:
                self._poll.unregister(member.socket)
            member.socket.close()

    def close(self) -> None:
        """End all processes. Harmless when called twice, or in a child that inherited them."""
        # In this order: after the program's end there is no `os`, and all of it is closed.
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        self._at_exit.cancel()
        with Calm():  # nothing would come back to what Ctrl-C breaks off here
            self._end()

    def _end(self) -> None:
        self._hang_up()
        self._to_all.close()
        self._from_all.close()
        self._poll.close()
        self._template.close(CLOSE_S)
        self.shelves.close()
        for member in self._members.values():
            if member.descriptor >= 0:
                self.exit_codes[member.pid] = exit_code_of(member.descriptor)
                os.close(member.descriptor)
                member.descriptor = -1


def _close(crew: "weakref.ref[Crew]") -> None:
    alive = crew()
    if alive is not None:
        alive.close()
