"""What was seen of one loader, kept without locks until a Trace is asked for.

One Recorder a loader (told by the line that built it), one Pass an iterator. All of it is written
by the thread that iterates; a second thread may at most read a slightly older state.
"""

import time
import weakref
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import msgspec

from wellfed._engine.reading import batches_per_epoch, length_of, read_job, read_workload
from wellfed._engine.watch.content import is_pinned
from wellfed._engine.watch.counters import RunQueue
from wellfed._engine.watch.hot_lines import Seen, Where
from wellfed._engine.watch.maker import LOOK_EVERY, LOOK_FIRST, Maker
from wellfed._engine.watch.note import NO_NOTE, Note
from wellfed._engine.watch.stalls import StallClock
from wellfed._engine.watch.worker import Mail, opened_files
from wellfed.records import Epoch, HotLine, LoaderSeen, Plan, Site, Span, Trace, Workload

__all__ = ["Pass", "Recorder"]

# Spans kept: the last 20,000 batches are 25 MB of memory, and no statistic gains from more.
MOST_SPANS = 20_000
MOST_EPOCHS = 1_000  # kept, with their spans: for loaders of a batch or two
MOST_PATHS = 256
MOST_LINES = 256  # kept; reported are the hottest
MOST_HOT = 32

_FIELDS = Span.__struct_fields__
_STALL = _FIELDS.index("device_stall_ns")
_TIMES = [
    _FIELDS.index(name) for name in ("asked_ns", "got_ns", "arrived_ns", "taken_ns", "sent_ns")
]


class Recorder:
    """All that is seen of one loader, over all its iterators."""

    def __init__(
        self,
        site: Site | None,
        loader: Any,
        plan: Plan,
        clock: Callable[[], int] = time.perf_counter_ns,
        name: str = "",
    ) -> None:
        self.name = name
        """What tells this loader from others; the same in every rank of a run."""
        self.site = site
        self.plan = plan
        self.kind = f"{type(loader).__module__}.{type(loader).__qualname__}"
        self.loader = weakref.ref(loader)
        """The loader that was last iterated, of those built by this line."""
        self._workload = read_workload(loader)
        self.in_memory_job = read_job(loader) if self._workload.in_memory else None
        """What is loaded, kept only where fetching some of it again is known to be harmless."""
        self.batches = 0
        self.waited_ns = 0
        self.held_ns = 0
        """Wait plus the step after it, in all: the loader with the most is the one that matters."""
        self.paths: dict[str, None] = {}
        self.stall = StallClock()
        self._samples: Counter[Where] = Counter()
        self._locked: Counter[Where] = Counter()
        # Flat tuples of numbers are invisible to the garbage collector, however many there are.
        self._spans: deque[tuple[Any, ...]] = deque(maxlen=MOST_SPANS)
        self._epochs: deque[dict[str, Any]] = deque(maxlen=MOST_EPOCHS)
        self._begun = 0
        self._clock = clock
        self._last_got_ns = -1

    def begin(self, iter_ns: int) -> "Pass":
        """A new pass over the loader: its iterator is being made or reset."""
        epoch = {"index": self._begun, "iter_ns": iter_ns, "ready_ns": iter_ns}
        self._epochs.append(epoch)
        self._begun += 1
        self._last_got_ns = -1
        return Pass(self, epoch)

    def keep(self, one: "Pass", head: list[Any], note: Note, mail: Mail | None) -> None:
        """A batch was delivered."""
        asked, got = head[2], head[3]
        if self._last_got_ns >= 0:
            self.held_ns += asked - self._last_got_ns
        self.waited_ns += got - asked
        self.held_ns += got - asked
        self._last_got_ns = got
        after = one.paused_ns, one.step_queue_ns, one.pinned
        self._spans.append((self.batches, *head, *note, *after))
        self.batches += 1
        if mail is not None and mail.paths and len(self.paths) < MOST_PATHS:
            self.paths.update(dict.fromkeys(mail.paths))
        if mail is not None and mail.lines:
            self._add(mail.lines)

    def _add(self, lines: list[Seen]) -> None:
        for *place, samples, locked in lines:
            where: Where = tuple(place)  # type: ignore[assignment]
            if where in self._samples or len(self._samples) < MOST_LINES:
                self._samples[where] += samples
                self._locked[where] += locked

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
        kept = [one for one in tuple(self._spans) if one[1] >= first]
        spans = tuple(self._span(one, first, zero_ns) for one in kept)
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

    def _span(self, kept: tuple[Any, ...], first_epoch: int, zero_ns: int) -> Span:
        key, *values = kept
        values.insert(_STALL, self.stall.stalls_ns.get(key, -1))
        values[0] -= first_epoch
        for place in _TIMES:
            values[place] = values[place] - zero_ns if values[place] >= 0 else -1
        return Span(*values)


class Pass:
    """One iterator's way over a loader: which notes have arrived, which batch is next."""

    def __init__(self, recorder: Recorder, epoch: dict[str, Any]) -> None:
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
        if recorder.plan.workers == 0:
            opened_files.hook()
            self.maker = Maker(-1, opened_files)

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
        if self.maker is not None:
            note = self.maker.note or NO_NOTE
            if self.maker.paths and len(self.recorder.paths) < MOST_PATHS:
                self.recorder.paths.update(dict.fromkeys(self.maker.paths))
        else:
            note = mail.note if mail is not None else NO_NOTE
        asked, got, asked_cpu, got_cpu = times
        opened, opening = (mail.opened_ns, mail.opening_ns) if mail is not None else (0, 0)
        head = [
            self.epoch["index"],
            self.number,
            asked,
            got,
            asked_cpu,
            got_cpu,
            self.sampler_ns,
            ready,
            len(self.arrived),
            opening if mail is not None else -1,
            opened - opening,
            mail.pin_ns if mail is not None else 0,
            mail.message_bytes if mail is not None else 0,
        ]
        if self.number == 0:
            self.epoch["first_ns"] = got
        self.number += 1
        self.epoch["batches"] = self.number
        self.recorder.keep(self, head, note, mail)
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
        if self.maker is not None:
            self.maker.close()

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
