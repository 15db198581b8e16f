"""What was seen of one loader, kept without locks until a Trace is asked for.

One Recorder a loader (told by the line that built it), one Pass an iterator. All of it is written
by the thread that iterates; a second thread may at most read a slightly older state.
"""

import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from wellfed._engine.reading import batches_per_epoch, length_of, read_job, read_workload
from wellfed._engine.watch.content import is_pinned
from wellfed._engine.watch.counters import RunQueue
from wellfed._engine.watch.entries import Entry, span_of
from wellfed._engine.watch.hot_lines import Seen, Where
from wellfed._engine.watch.letters import Delivery, opened
from wellfed._engine.watch.maker import LOOK_EVERY, LOOK_FIRST, Maker
from wellfed._engine.watch.note import PID
from wellfed._engine.watch.stalls import StallClock
from wellfed._engine.watch.worker import Mail, opened_files
from wellfed.records import Epoch, HotLine, LoaderSeen, Plan, Site, Trace, Workload

__all__ = ["Pass", "Recorder"]

# Spans kept: the last 20,000 batches are 25 MB of memory, and no statistic gains from more.
MOST_SPANS = 20_000
MOST_EPOCHS = 1_000  # kept, with their spans: for loaders of a batch or two
MOST_PATHS = 256
MOST_LINES = 256  # kept; reported are the hottest
MOST_HOT = 32


class Recorder:
    """All that is seen of one loader, over all its iterators."""

    def __init__(
        self,
        site: Site | None,
        loader: Any,
        plan: Plan,
        clock: Callable[[], int] = time.perf_counter_ns,
        name: str = "",
        most_spans: int | None = None,
    ) -> None:
        """Nothing was seen yet.

        Args:
            site: the line that built it.
            loader: what is watched.
            plan: how its batches are made.
            clock: monotonic nanoseconds, the same in every process.
            name: what tells this loader from others.
            most_spans: spans kept, the last ones; None for MOST_SPANS.
        """
        self.name = name
        """What tells this loader from others; the same in every rank of a run."""
        self.site = site
        self.plan = plan
        self.kind = f"{type(loader).__module__}.{type(loader).__qualname__}"
        self.loader: Callable[[], Any] = weakref.ref(loader)
        """The loader that was last iterated, of those built by this line."""
        self._workload = read_workload(loader)
        self.in_memory_job = read_job(loader) if self._workload.in_memory else None
        """What is loaded, kept only where fetching some of it again is known to be harmless."""
        self.batches = 0
        self.waited_ns = 0
        self.held_ns = 0
        """Wait plus the step after it, in all: the loader with the most is the one that matters."""
        self.paths: dict[str, None] = {}
        """Files that were seen opened."""
        self.stall = StallClock()
        self._samples: Counter[Where] = Counter()
        self._locked: Counter[Where] = Counter()
        # Plain tuples of numbers are invisible to the garbage collector, however many there are.
        self._spans: deque[tuple[Any, ...]] = deque(maxlen=most_spans or MOST_SPANS)
        self._epochs: deque[dict[str, Any]] = deque(maxlen=MOST_EPOCHS)
        self._begun = 0
        self._clock = clock
        self._last_got_ns = -1
        self._idle_makers: list[Maker] = []

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy of the loader, in this process or another, was seen nowhere yet.
        return type(None), ()

    def begin(self, iter_ns: int, *, lightly: bool = False) -> "Pass":
        """A new pass over the loader: its iterator is being made or reset.

        Args:
            iter_ns: when that began.
            lightly: it needs no maker; the engine's streams have their own.
        """
        epoch = {"index": self._begun, "iter_ns": iter_ns, "ready_ns": iter_ns}
        self._epochs.append(epoch)
        self._begun += 1
        self._last_got_ns = -1
        return Pass(self, epoch, lightly=lightly)

    def keep(self, entry: Entry) -> None:
        """A batch was delivered."""
        asked, got = entry.asked_ns, entry.got_ns
        if self._last_got_ns >= 0:
            self.held_ns += asked - self._last_got_ns
        self.waited_ns += got - asked
        self.held_ns += got - asked
        self._last_got_ns = got
        self._spans.append(tuple(entry))
        self.batches += 1

    def keep_lightly(self, entry: tuple[Any, ...]) -> None:
        """A batch was delivered of a loader that nobody observes: an Entry, as a plain tuple."""
        self._spans.append(entry)
        self.batches += 1

    def opened(self, paths: list[str]) -> None:
        """These files were seen opened."""
        if paths and len(self.paths) < MOST_PATHS:
            self.paths.update(dict.fromkeys(paths))

    def sampled(self, lines: Sequence[Seen]) -> None:
        """Workers were seen in these lines."""
        for *place, samples, locked in lines:
            where: Where = tuple(place)  # type: ignore[assignment]
            if where in self._samples or len(self._samples) < MOST_LINES:
                self._samples[where] += samples
                self._locked[where] += locked

    def lend_maker(self) -> Maker:
        """A maker for a pass that makes its batches in the thread that asks; to be given back."""
        if self._idle_makers:
            return self._idle_makers.pop()
        opened_files.hook()
        return Maker(-1, opened_files)

    def take_back(self, maker: Maker) -> None:
        """The pass that had it is over: the next one goes on with what it knows."""
        maker.close()
        self._idle_makers.append(maker)

    @property
    def first_ns(self) -> int:
        """When the first pass that is kept began; 0 if none did."""
        return int(self._epochs[0]["iter_ns"]) if self._epochs else 0

    @property
    def workload(self) -> Workload:
        """What the loader loads. Asks its dataset for its length: not to be used while it trains.

        A dataset that is gone by now leaves what whole epochs showed.
        """
        loader = self.loader()
        length = length_of(loader.dataset) if loader is not None else None
        batches = batches_per_epoch(loader, length)
        if batches is None:
            whole = (
                one["batches"] for one in self._epochs if one.get("complete") and one.get("batches")
            )
            batches = max(whole, default=None)
        return msgspec.structs.replace(self._workload, length=length, batches_per_epoch=batches)

    def seen(self) -> LoaderSeen:
        """The loader in a line, for the report of another one."""
        return LoaderSeen(
            site=self.site,
            dataset=self._workload.dataset,
            workers=self.plan.workers,
            batches=self.batches,
            wait_s=self.waited_ns / 1e9,
        )

    def trace(self, zero_ns: int, ended_ns: int, **more: Any) -> Trace:
        """Everything so far as a Trace whose times count from `zero_ns`."""
        self.stall.resolve()
        epochs = tuple(self._epochs)
        first = epochs[0]["index"] if epochs else 0
        kept = [Entry(*one) for one in tuple(self._spans)]
        spans = tuple(
            span_of(
                one,
                first_epoch=first,
                zero_ns=zero_ns,
                stall_ns=self.stall.stalls_ns.get(one.key, -1),
                inside=self.plan.backend == "inline",
            )
            for one in kept
            if one.epoch >= first
        )
        return Trace(
            plan=self.plan,
            site=self.site,
            loader=self.kind,
            ended_ns=ended_ns - zero_ns,
            spans=spans,
            spans_dropped=self.batches - len(spans),
            epochs=tuple(_epoch(one, first, zero_ns) for one in epochs),
            device="cuda" if self.stall.stalls_ns else "cpu",
            hot_lines=tuple(
                HotLine(
                    file=file,
                    line=line,
                    function=function,
                    library=library,
                    samples=samples,
                    locked=self._locked[file, line, function, library],
                )
                for (file, line, function, library), samples in self._samples.most_common(MOST_HOT)
            ),
            **more,
        )


class Pass:
    """One iterator's way over a loader: which notes have arrived, which batch is next."""

    def __init__(self, recorder: Recorder, epoch: dict[str, Any], *, lightly: bool = False) -> None:
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
        elif mail is not None:
            note, paths = mail.note, mail.paths
            self.recorder.sampled(mail.lines)
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
            came.message_bytes, 0, came.told,
        ))
        # fmt: on
        self.number = self.epoch["batches"] = number + 1
        self.sampler_ns = 0

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


def _epoch(written: dict[str, Any], first: int, zero_ns: int) -> Epoch:
    values = dict(written)
    values["index"] -= first
    for name in ("iter_ns", "ready_ns", "first_ns", "ended_ns"):
        if name in values:
            values[name] -= zero_ns
    values["start_ns"] = tuple(values.get("start_ns", ()))
    begun = values.get("worker_begin_ns", {})
    values["worker_begin_ns"] = tuple(begun_ns - zero_ns for begun_ns in begun.values())
    return Epoch(**values)
