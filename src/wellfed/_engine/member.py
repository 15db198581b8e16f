"""One worker process as its crew sees it: its seat, its socket, its slabs and its page."""

import socket
import time
from collections import deque

from wellfed._engine import wire
from wellfed._engine.board import Board
from wellfed._engine.leases import Shelf
from wellfed._engine.wire import Task

__all__ = ["Member", "send_all"]

# Taking a task lasts some microseconds. A worker that is longer at it was stopped, or is lost in
# what an index does when it is unpickled.
TAKING_S = 1.0


class Member:
    """One worker process."""

    def __init__(self, seat: int, hosted: tuple[int, ...], threads: int) -> None:
        """It is not there yet.

        Args:
            seat: where it sits.
            hosted: the logical workers that live in it.
            threads: how many fetch samples side by side in it; 0: it has but one.
        """
        self.seat = seat
        self.hosted = hosted
        self.threads = threads
        self.socket, self.theirs = wire.pair()
        self.socket.setblocking(False)
        self.connected = True
        self.shelf = Shelf()
        self.unsent: deque[Task] = deque()
        self.pid = -1
        self.descriptor = -1
        self.board = Board()
        self.page = self.board.page
        self.leaving = False
        """Whether it is to end, once it has made what it has taken."""

    @property
    def left(self) -> bool:
        """Of one that has ended: whether it left as it was asked to, with nothing in its hands."""
        return self.leaving and not self.page.warm

    def has_taken(self) -> bool:
        """Wait until it is between two tasks or has noted the one that it took; whether it is."""
        deadline = time.monotonic() + TAKING_S
        while self.page.taking:
            if time.monotonic() > deadline:
                return False
            time.sleep(0)
        return True


def send_all(to: socket.socket, tasks: deque[Task]) -> None:
    """Send tasks until the socket takes no more; those that were sent are gone from `tasks`."""
    try:
        while tasks and wire.send_task(to, tasks[0]):
            tasks.popleft()
    except (BrokenPipeError, ConnectionResetError):
        return  # the process died: its descriptor says so, and how
