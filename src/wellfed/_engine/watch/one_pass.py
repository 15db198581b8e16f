"""One iterator's way over a loader, written down batch by batch by the thread that iterates."""

from typing import TYPE_CHECKING, Any

from wellfed._engine.watch.content import is_pinned
from wellfed._engine.watch.counters import RunQueue
from wellfed._engine.watch.entries import Entry
from wellfed._engine.watch.fingerprints import of_indices
from wellfed._engine.watch.letters import Delivery, opened
from wellfed._engine.watch.maker import LOOK_EVERY, LOOK_FIRST, Maker
from wellfed._engine.watch.note import PID
from wellfed._engine.watch.worker import Mail
from wellfed.records import Look

if TYPE_CHECKING:
    from wellfed._engine.watch.recorder import Recorder

__all__ = ["Pass"]

# Batches of each epoch of whose indices a fingerprint is taken: two shuffles agree on none of them.
ORDER_OF = 4


class Pass:
    """One iterator's way over a loader: which notes have arrived, which batch is next."""

    def __init__(
        self, recorder: "Recorder", epoch: dict[str, Any], *, lightly: bool = False
    ) -> None:
        self.recorder = recorder
        self.epoch = epoch
        self.number = 0
        self.sampler_ns = 0
        self.paused_ns = 0
        self.step_queue_ns = -1
        self.pinned = -1
        self._run_queue = RunQueue()
        self._got_queue_ns = -1
        self.arrived: dict[int, Mail] = {}
        self.last = -1
        self.inside = False
        """True while `__next__` runs: a subclass that calls its parent's is timed once."""
        self.maker: Maker | None = None
        self._indexed = 0
        self._pickled = (0, 0)
        self._garbage = recorder.garbage.took_ns, recorder.garbage.runs
        if recorder.plan.workers == 0 and not lightly:
            self.maker = recorder.lend_maker()

    def asks(self) -> None:
        """The trainer is about to ask: what its step waited for a core is known."""
        now_ns, before_ns = self._run_queue.read_ns(), self._got_queue_ns
        known = now_ns >= before_ns >= 0
        self.step_queue_ns = now_ns - before_ns if known else -1

    def look(self, batch: Any) -> None:
        """Now and again: whether the batch is in page-locked memory. Only with a device in use."""
        due = self.number < LOOK_FIRST or self.number % LOOK_EVERY == 0
        self.pinned = is_pinned(batch) if due and self.recorder.stall.ready() else -1

    def pickled(self, took_ns: int, n_bytes: int) -> None:
        """Part of what the next worker is given was pickled."""
        self._pickled = self._pickled[0] + took_ns, self._pickled[1] + n_bytes

    def started(self, took_ns: int) -> None:
        """A worker was started."""
        self.epoch.setdefault("start_ns", []).append(took_ns)
        self.epoch["started_workers"] = self.epoch.get("started_workers", 0) + 1
        if self._pickled[1]:
            self.epoch.setdefault("pickle_ns", []).append(self._pickled[0])
            self.epoch.setdefault("pickled_bytes", []).append(self._pickled[1])
            self._pickled = (0, 0)

    def indexed(self, indices: Any, took_ns: int) -> None:
        """The sampler gave the indices of a batch."""
        self.sampler_ns += took_ns
        if self._indexed < ORDER_OF:
            self._indexed += 1
            self.epoch["order"] = of_indices(indices, self.epoch.get("order", 0))

    def arrive(self, index: Any) -> None:
        """The trainer took a batch's message from the result queue."""
        mail = getattr(index, "mail", None)
        if mail is not None:
            self.last = int(index)
            self.arrived[self.last] = mail
            begun = self.epoch.setdefault("worker_begin_ns", {})
            begun.setdefault(mail.note[1], mail.begun_ns)

    def deliver(self, delivered: int, times: tuple[int, int, int, int], ready: int) -> None:
        """A batch leaves `__next__`.

        Args:
            delivered: torch's number of it; -1 if it has none.
            times: asked and got in ns, and the process's CPU clock at both.
            ready: batches that had arrived when the trainer asked; -1 if unknown.
        """
        mail = self.arrived.pop(delivered, None)
        note, paths = None, None
        if self.maker is not None:
            note, paths = self.maker.note, self.maker.paths
            self.recorder.sampled(self.maker.lines)
            self._look(self.maker.look)
        elif mail is not None:
            note, paths = mail.note, mail.paths
            self.recorder.sampled(mail.lines)
            self._look(mail.look)
        self.recorder.opened(paths or [])
        self._keep(
            times,
            ready,
            told=(tuple(note),) if note is not None else (),
            held=len(self.arrived),
            arrived_ns=mail.opening_ns if mail is not None else -1,
            receive_ns=mail.opened_ns - mail.opening_ns if mail is not None else 0,
            pin_ns=mail.pin_ns if mail is not None else 0,
            message_bytes=mail.message_bytes if mail is not None else 0,
        )

    def take(self, delivery: Delivery, times: tuple[int, int, int, int], ready: int) -> None:
        """A batch of the engine's leaves `__next__`.

        Args:
            delivery: how it came.
            times: as in `deliver`.
            ready: batches that had arrived when the trainer asked; -1 if unknown.
        """
        told = delivery.told
        if self.maker is not None and self.maker.note is not None:
            told = (tuple(self.maker.note),)
            self.recorder.opened(self.maker.paths)
            self._look(self.maker.look)
        for part in told:
            if isinstance(part, bytes):
                letter = opened(part)
                self.recorder.opened(letter.paths)
                self.recorder.sampled(letter.lines)
                begun = self.epoch.setdefault("worker_begin_ns", {})
                begun.setdefault(letter.note[PID], letter.begun_ns)
        self._keep(
            times,
            ready,
            told=told,
            held=delivery.held,
            arrived_ns=delivery.arrived_ns,
            receive_ns=delivery.receive_ns,
            pin_ns=0,
            message_bytes=delivery.message_bytes,
        )

    def take_lightly(self, delivery: Delivery, asked_ns: int, got_ns: int) -> None:
        """A batch of the engine's leaves `__next__`, and nobody observes: 0.4 µs."""
        recorder, number, came = self.recorder, self.number, delivery
        if not number:
            self.epoch["first_ns"] = got_ns
        # fmt: off
        recorder.keep_lightly((
            recorder.batches, self.epoch["index"], number, asked_ns, got_ns, -1, -1,
            self.sampler_ns, -1, came.held, came.arrived_ns, came.receive_ns, 0,
            came.message_bytes, 0, came.told, -1, -1,
        ))
        # fmt: on
        self.number = self.epoch["batches"] = number + 1
        self.sampler_ns = 0
        if got_ns >= recorder.due_ns:
            recorder.show(got_ns)

    def _look(self, look: Look | None) -> None:
        if look is not None:
            self.recorder.looked(look, self.epoch["index"], self.number)

    def _keep(self, times: tuple[int, int, int, int], ready: int, **came: Any) -> None:
        entry = Entry(
            self.recorder.batches,
            self.epoch["index"],
            self.number,
            *times,
            sampler_ns=self.sampler_ns,
            ready=ready,
            paused_ns=self.paused_ns,
            step_queue_ns=self.step_queue_ns,
            pinned=self.pinned,
            **came,
        )
        if self.number == 0:
            self.epoch["first_ns"] = entry.got_ns
        self.number += 1
        self.epoch["batches"] = self.number
        self.epoch["gc_ns"] = self.recorder.garbage.took_ns - self._garbage[0]
        self.epoch["gc_runs"] = self.recorder.garbage.runs - self._garbage[1]
        self.recorder.keep(entry)
        self.sampler_ns = self.paused_ns = 0
        self._got_queue_ns = self._run_queue.read_ns()

    def end(self, now_ns: int, *, complete: bool) -> None:
        """The iterator is exhausted or given up."""
        if "ended_ns" not in self.epoch:
            self.epoch["ended_ns"] = now_ns
            self.epoch["complete"] = complete
        self.close()

    def close(self) -> None:
        """Give back what it and its maker hold open; harmless while it goes on."""
        self._run_queue.close()
        if self.maker is None:
            return
        self.maker.close()
        if "ended_ns" in self.epoch:
            self.recorder.take_back(self.maker)
            self.maker = None

    def __del__(self) -> None:
        # An iterator without workers that is given up is told nobody.
        self.close()
