"""The worker processes of one iterator, as the trainer sees them.

    Crew ── Task ──► worker 0, 1, ...        one socket each, and one that all read from
         ◄─ Record ─
         ◄─ death ──                         a process descriptor each: seen at once

Nothing here blocks but `poll`, and nothing here decides: which batch goes where is the Flow's.
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
from wellfed._engine.board import DROP, FREE, Board, Page
from wellfed._engine.leases import Shelf
from wellfed._engine.making import Setup
from wellfed._engine.template import Template
from wellfed._engine.wire import Record, Task
from wellfed._engine.worker_pids import exit_code_of

__all__ = ["Crew"]

# Once their sockets are closed, workers end as soon as their sample is fetched. What takes longer
# than this, all of them together, is killed.
CLOSE_S = 2.0


class _Member:
    """One worker process."""

    def __init__(self, mine: socket.socket) -> None:
        self.socket = mine
        self.connected = True
        self.shelf = Shelf()
        self.unsent: deque[Task] = deque()
        self.pid = -1
        self.descriptor = -1
        self.leaving = False

    @property
    def gone(self) -> bool:
        """Whether it has left: there is no process."""
        return self.pid >= 0 and self.descriptor < 0


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
        self._members: list[_Member] = []
        self._pages: list[Page] = []
        self._seats: list[int] = []
        """Numbers of the processes that are sent tasks."""
        self.gone: list[int] = []
        """Processes that were asked to leave and have; all that they sent was read."""
        self._allowed: tuple[int, int] | None = None
        """What slabs may take, as `allow` was told."""
        self._unsent: deque[Task] = deque()
        self._poll = select.epoll()
        self._by_fd: dict[int, int] = {}
        self.exit_codes: dict[int, int | None] = {}
        """How the processes ended, by their pids, once they have; None where that is not known."""
        self._silent: set[int] = set()
        """The dead who sent nothing at the last reading."""
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
        number = len(self._members)
        board = Board()
        mine, theirs = wire.pair()
        mine.setblocking(False)
        try:
            fds = [theirs.fileno(), self._from_all.fileno(), board.fd]
            self._template.ask(number, hosted, threads, fds)
        finally:
            theirs.close()
            board.close()
        self._members.append(_Member(mine))
        self._seats.append(number)
        self._pages.append(board.page)
        if self._allowed is not None:
            self.allow(*self._allowed)
        self._poll.register(mine, select.EPOLLIN)
        self._by_fd[mine.fileno()] = number
        self.start_ns.append(time.perf_counter_ns() - began_ns)

    def __len__(self) -> int:
        return len(self._seats)

    @property
    def pids(self) -> list[int]:
        """The processes; waits until all are there, unless it is at its end."""
        if not self._closed:
            self._meet_all()
        return [self._members[number].pid for number in self._seats]

    @property
    def met_pids(self) -> list[int]:
        """The processes that are known to be there."""
        pids = (self._members[number].pid for number in self._seats)
        return [pid for pid in pids if pid > 0]

    def _meet_all(self) -> None:
        while any(member.pid < 0 for member in self._members):
            self._meet()

    def _meet(self) -> None:
        """The template has forked one more."""
        number, pid, descriptor = self._template.forked()
        self._members[number].pid, self._members[number].descriptor = pid, descriptor
        self._by_fd[descriptor] = number
        self._poll.register(descriptor, select.EPOLLIN)

    def send(self, task: Task, seat: int | None) -> None:
        """Have a task done, by the process on this seat or by whichever is idle."""
        queue = self._unsent if seat is None else self._members[self._seats[seat]].unsent
        queue.append(task)
        self.flush()

    # -- those who leave ----------------------------------------------------------------------

    @property
    def several(self) -> bool:
        """Whether there is a process that does not know what another was sent for itself."""
        return len(self._members) > 1

    def warm(self, first: int) -> bool:
        """Whether all processes from this seat on have started."""
        return all(self._pages[number].warm for number in self._seats[first:])

    def leave(self, seats: slice) -> None:
        """Have the processes on these seats end, once they have made what they have taken.

        What they were sent for themselves and nobody has read goes to whichever is idle: they must
        not be homes of anything that is out.
        """
        leaving = self._seats[seats]
        del self._seats[seats]
        for number in leaving:
            member = self._members[number]
            member.leaving = True
            self._unsent.extend(member.unsent)
            member.unsent = deque([wire.LEAVE])
        self.flush()

    def bury(self, needed: dict[int, set[int]]) -> None:
        """Give back what those who are gone have left, but slabs that are to be unpacked yet."""
        for number in self.gone:
            member = self._members[number]
            self._template.exit_code(number)  # so that it is reaped
            while self._template.waiting:
                self._meet()
            self._poll.unregister(member.descriptor)
            del self._by_fd[member.descriptor]
            os.close(member.descriptor)
            member.descriptor = -1
            self._by_fd.pop(member.socket.fileno(), None)
            if member.connected:
                self._poll.unregister(member.socket)
                member.connected = False
            member.socket.close()
            member.shelf.keep(needed.get(number, set()))
        self.gone.clear()

    def flush(self) -> None:
        """Send what did not fit into a socket's buffer before."""
        _flush(self._to_all, self._unsent)
        for member in self._members:
            if member.unsent:
                _flush(member.socket, member.unsent)

    def poll(self, within_s: float | None) -> list[tuple[int, int]]:
        """Wait for news of any kind, which `read` then takes. Nothing is lost if it is not.

        Args:
            within_s: how long to wait; 0: not at all; None: for ever.
        """
        return self._poll.poll(within_s)

    def read(self, news: list[tuple[int, int]]) -> list[tuple[int, Record]]:
        """Records that have come, with the process they come from.

        Raises:
            RuntimeError: a worker died.
        """
        came: list[tuple[int, Record]] = []
        dead: list[int] = []
        for fd, _ in news:
            if fd == self._template.fileno():
                self._meet()
                continue
            number = self._by_fd[fd]
            member = self._members[number]
            if fd == member.descriptor:
                left = member.leaving and not self._pages[number].warm
                (self.gone if left else dead).append(number)
            came += [(number, record) for record in self._records(member)]
        if not dead and not self._silent:
            return came
        # What the dead had sent is read to its end; others may go on sending for ever.
        silent = set(dead).difference(number for number, _ in came)
        if silent and (not came or silent & self._silent):
            raise self._death(sorted(silent))
        self._silent = silent
        return came

    def _records(self, member: _Member) -> list[Record]:
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

    def _death(self, dead: list[int]) -> RuntimeError:
        pids = ", ".join(str(self._members[number].pid) for number in dead)
        error = RuntimeError(f"DataLoader worker (pid(s) {pids}) exited unexpectedly")
        for number in dead:
            code, pid = self._template.exit_code(number), self._members[number].pid
            if code is not None and code < 0:
                how = f"is killed by signal: {signal.strsignal(-code)}."
            else:
                how = f"exited unexpectedly with exit code {code}."
            error.__cause__ = RuntimeError(f"DataLoader worker (pid {pid}) {how}")
        return error

    # -- slabs --------------------------------------------------------------------------------

    def shelf(self, process: int) -> Shelf:
        """The slabs of one process."""
        return self._members[process].shelf

    @property
    def slabs_bytes(self) -> int:
        """What the slabs of all processes take, with those that only batches hold still."""
        return sum(member.shelf.bytes for member in self._members)

    @property
    def leased_bytes(self) -> int:
        """How much of that batches hold which are with the trainer."""
        return sum(member.shelf.leased_bytes for member in self._members)

    def allow(self, slabs_bytes: int, ceiling_bytes: int) -> None:
        """Say what slabs may take: what batches hold of each, and an equal share of the rest.

        Args:
            slabs_bytes: all slabs together.
            ceiling_bytes: what no batch may pass.
        """
        self._allowed = slabs_bytes, ceiling_bytes
        share_bytes = (slabs_bytes - self.leased_bytes) // max(1, len(self._seats))
        for number in self._seats:
            member = self._members[number]
            allowance_bytes = max(1, share_bytes + member.shelf.leased_bytes)
            self._pages[number].allow(allowance_bytes, ceiling_bytes)
            if member.shelf.bytes > allowance_bytes and not member.unsent:
                # It hears of it with its next task, which may be long in coming.
                member.unsent.append(wire.NO_TASK)
        self.flush()

    def want(self, turn: int) -> None:
        """Say which batch is waited for, and is to be made whatever it takes; 0: none."""
        for page in self._pages:
            page.wanted = turn

    def give_back(self) -> None:
        """Tell the workers which of their slabs nobody reads any more."""
        for member, page in zip(self._members, self._pages, strict=True):
            if not member.shelf.stirred:
                continue
            for slab in member.shelf.freed():
                page.say(slab, FREE)
                if member.gone:
                    member.shelf.drop(slab)
            for slab in member.shelf.spent():
                page.say(slab, DROP)

    # -- the end ------------------------------------------------------------------------------

    def dismiss(self) -> None:
        """End all processes, and keep what they come from: others may be added."""
        self._meet_all()
        leaving = select.poll()
        there = [member for member in self._members if not member.gone]
        left = {member.descriptor for member in there}
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
        for member in there:
            self._poll.unregister(member.descriptor)
            os.close(member.descriptor)
            member.shelf.close()
        self._members, self._pages, self._by_fd, self._silent = [], [], {}, set()
        self._seats = []

    def _hang_up(self) -> None:
        for member in self._members:
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
        self._hang_up()
        self._to_all.close()
        self._from_all.close()
        self._poll.close()
        self._template.close(CLOSE_S)
        for member in self._members:
            member.shelf.close()
            if member.descriptor >= 0:
                self.exit_codes[member.pid] = exit_code_of(member.descriptor)
                os.close(member.descriptor)
                member.descriptor = -1


def _close(crew: "weakref.ref[Crew]") -> None:
    alive = crew()
    if alive is not None:
        alive.close()


def _flush(to: socket.socket, tasks: deque[Task]) -> None:
    try:
        while tasks and wire.send_task(to, tasks[0]):
            tasks.popleft()
    except (BrokenPipeError, ConnectionResetError):
        return  # the process died: its descriptor says so, and how
