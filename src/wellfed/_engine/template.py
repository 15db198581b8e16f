"""Where workers come from: a process that holds the dataset and forks them when asked.

    trainer ── "one more, please" and its sockets ──► template ── fork ──► worker
                                                        │  └────── fork ──► worker
            ◄── the worker's process descriptor ────────┘

With fork, the template is forked from the trainer when the iterator starts: workers that are added
or replaced later are forked from it and not from the trainer, which by then may have threads and a
device. With spawn and forkserver it is a fresh interpreter that unpickles the dataset once, and its
workers cost a fork each.

Guarantees
- the template has one thread, runs none of the user's code but unpickling, and ignores SIGINT;
- it ends when the trainer closes the connection or dies, and so do its workers;
- the trainer learns of a worker's death from the process descriptor, at once.
"""

import contextlib
import gc
import multiprocessing
import os
import pickle
import select
import signal
import socket
import time
import warnings
from multiprocessing import process
from typing import Any

from wellfed._engine import worker
from wellfed._engine.making import Setup
from wellfed._engine.streams import Streams
from wellfed._engine.wire import pair

__all__ = ["Template", "serve"]

# A worker's process descriptor is waited for this long: it takes as long as a fork, and with spawn
# an interpreter that imports torch and the dataset's modules.
FORK_S = 300.0
# A process that has ended, or was killed, is reaped within milliseconds; this only bounds the wait.
REAP_S = 2.0


class Template:
    """The trainer's side."""

    def __init__(self, setup: Setup, context: Any) -> None:
        """Start it.

        Args:
            setup: what every worker is told.
            context: how: a context of multiprocessing.

        Raises:
            TypeError, AttributeError, pickle.PicklingError: something of the user's cannot be
                pickled, and the start method has to.
        """
        self._forked: list[tuple[int, int, int]] = []
        self._control, theirs = pair()
        trainer = os.pidfd_open(os.getpid())
        forked = context.get_start_method() == "fork"
        self._process = context.Process(
            target=serve,
            args=(_Sent(theirs), _Sent(trainer), setup, self._control if forked else None),
            daemon=True,
        )
        try:
            self._process.start()
        except (TypeError, AttributeError, pickle.PicklingError):
            warnings.warn(
                "Got pickle error when attempting to start a worker Process. "
                "This might be because the worker Process arguments are not picklable. "
                "Python 3.14+ changed the multiprocessing start method in non-Mac POSIX platforms "
                "to 'forkserver', which requires the worker Process arguments to be picklable. "
                "You can also try multiprocessing.set_start_method('fork').",
                stacklevel=2,
            )
            raise
        finally:
            if self._process.pid is None:
                self._control.close()
            theirs.close()
            os.close(trainer)

    def ask(self, number: int, hosted: tuple[int, ...], threads: int, fds: list[int]) -> None:
        """Ask for a worker; `forked` tells what came of it.

        Args:
            number: which worker process it is.
            hosted: the logical workers that live in it.
            threads: how many fetch samples side by side in it; 0: it has but one.
            fds: its own socket, the shared one, the board.
        """
        socket.send_fds(self._control, [pickle.dumps((number, hosted, threads))], fds)

    def exit_code(self, number: int) -> int | None:
        """How a dead worker ended: its exit code, or minus the signal; None if that is unknown."""
        try:
            self._control.send(pickle.dumps(number))
            self._control.settimeout(REAP_S)
            while True:
                message, fds, _, _ = socket.recv_fds(self._control, 256, 1)
                if not message:
                    return None
                told, what = pickle.loads(message)
                if fds:
                    self._forked.append((told, what, fds[0]))
                elif told == number:  # else one that came too late
                    return None if what is None else int(what)
        except OSError:
            return None

    def forked(self) -> tuple[int, int, int] | None:
        """Wait for word of the next worker asked for: number, pid and process descriptor.

        Returns:
            Them; None if it was no such word, but an exit code that came too late.

        Raises:
            RuntimeError: the template died, or says nothing.
        """
        if self._forked:
            return self._forked.pop()
        self._control.settimeout(FORK_S)
        try:
            message, fds, _, _ = socket.recv_fds(self._control, 256, 1)
        except ConnectionResetError:  # it was killed with requests unread
            message, fds = b"", []
        except TimeoutError:
            raise RuntimeError(f"no DataLoader worker has started within {FORK_S:.0f} s") from None
        if not message:
            self._process.join(1.0)
            raise RuntimeError(f"DataLoader worker (pid(s) {self.pid}) exited unexpectedly")
        number, what = pickle.loads(message)
        return (number, what, fds[0]) if fds else None

    @property
    def waiting(self) -> bool:
        """Whether `forked` need not wait, though the connection is not readable."""
        return bool(self._forked)

    @property
    def alive(self) -> bool:
        """Whether there may be more workers."""
        # Its sockets are closed before its children are killed, and its end is told after that.
        look = select.poll()
        look.register(self._control, 0)
        return not look.poll(0)

    def fileno(self) -> int:
        """The connection: readable when `forked` need not wait."""
        return self._control.fileno()

    @property
    def pid(self) -> int:
        """The template's process."""
        return int(self._process.pid or -1)

    def close(self, within_s: float) -> None:
        """End it, by force if it takes longer than that. Harmless when called twice."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        for _, _, descriptor in self._forked:
            os.close(descriptor)
        self._forked.clear()
        self._process.join(within_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(within_s)
        self._process.close()
        self._process = None


class _Sent:
    """A socket or descriptor on its way to the template: inherited by fork, sent by spawn."""

    def __init__(self, what: socket.socket | int) -> None:
        self.what = what

    def __reduce__(self) -> tuple[Any, ...]:
        from multiprocessing.reduction import DupFd

        if isinstance(self.what, int):
            return _received_fd, (DupFd(self.what),)
        return _received, (DupFd(self.what.fileno()),)


def _received(sent: Any) -> "_Sent":
    return _Sent(socket.socket(fileno=sent.detach()))


def _received_fd(sent: Any) -> "_Sent":
    return _Sent(sent.detach())


def serve(control: Any, trainer: Any, setup: Setup, others_end: Any) -> None:
    """What runs in the template until the trainer goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if others_end is not None:  # forked: the trainer's own end came along
        others_end.close()
    # multiprocessing lets no daemon have children; this one exists to have them.
    process.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    # What is shared with the workers stays shared: no collection of theirs writes to it. Not
    # collected first, which takes 80 ms.
    gc.freeze()
    # Whatever seeding imports is imported once, here: 10 ms that each worker is spared.
    Streams(setup.base_seed, [0])
    children: dict[int, Any] = {}
    try:
        _serve(control.what, trainer.what, setup, children)
    finally:
        _reap(children)
        os._exit(0)


def _serve(connection: socket.socket, trainer: int, setup: Setup, children: dict[int, Any]) -> None:
    waiting = select.poll()
    waiting.register(connection, select.POLLIN)
    waiting.register(trainer, select.POLLIN)
    while True:
        if trainer in dict(waiting.poll()):
            return
        message, fds, _, _ = socket.recv_fds(connection, 4096, 8)
        if not message:
            return
        asked = pickle.loads(message)
        if isinstance(asked, int):
            child = children.pop(asked)
            child.join(REAP_S)
            connection.send(pickle.dumps((asked, child.exitcode)))
            continue
        number, hosted, threads = asked
        child = multiprocessing.get_context("fork").Process(
            target=worker.run,
            args=(setup, hosted, threads, fds, trainer, connection, os.getpid()),
            daemon=True,
        )
        child.start()
        children[number] = child
        for fd in fds:
            os.close(fd)
        descriptor = os.pidfd_open(child.pid or -1)
        socket.send_fds(connection, [pickle.dumps((number, child.pid))], [descriptor])
        os.close(descriptor)


def _reap(children: dict[int, Any]) -> None:
    """Wait for the workers, which end when their sockets do; kill what takes too long."""
    deadline = time.monotonic() + REAP_S
    for child in children.values():
        child.join(max(0.0, deadline - time.monotonic()))
        if child.is_alive():
            child.kill()
    for child in children.values():
        child.join(REAP_S)
