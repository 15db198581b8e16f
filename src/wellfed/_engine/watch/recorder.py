"""What was seen of one loader, kept without locks until a Trace is asked for.

One Recorder a loader (told by the line that built it), one Pass an iterator. All of it is written
by the thread that iterates; a second thread may at most read a slightly older state.
"""

import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from wellfed._engine.reading import batches_per_epoch, length_of, read_job, read_workload
from wellfed._engine.watch.fingerprints import of_indices
from wellfed._engine.watch.garbage import Garbage
from wellfed._engine.watch.holdings import whole_numbers
from wellfed._engine.watch.looking import Looking
from wellfed._engine.watch.maker import Maker
from wellfed._engine.watch.note import NO_NOTE, Note
from wellfed._engine.watch.stalls import StallClock
from wellfed._engine.watch.worker import Mail, opened_files
from wellfed.records import Epoch, LoaderSeen, Look, Plan, Site, Span, Trace, Workload

__all__ = ["Pass", "Recorder"]

# Spans kept: the last 20,000 batches are 25 MB of memory, and no statistic gains from more.
MOST_SPANS = 20_000
MOST_EPOCHS = 1_000  # kept, with their spans: for loaders of a batch or two
MOST_PATHS = 256
MOST_LOOKS = 512
# Batches of each epoch of whose indices a fingerprint is taken: two shuffles agree on none of them.
ORDER_OF = 4

_FIELDS = Span.__struct_fields__
# In a kept tuple the batch's key stands before, and the device's stall is not there yet.
_PAYLOAD = _FIELDS.index("payload_bytes")
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
        garbage: Garbage | None = None,
    ) -> None:
        self.garbage = garbage or Garbage(clock)
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
        # Flat tuples of numbers are invisible to the garbage collector, however many there are.
        self._spans: deque[tuple[Any, ...]] = deque(maxlen=MOST_SPANS)
        self._epochs: deque[dict[str, Any]] = deque(maxlen=MOST_EPOCHS)
        self._looks: list[Look] = []
        self.looking = Looking(-1)
        """Decides about closer looks where batches are made without workers, in all its passes."""
        self._begun = 0
        self._clock = clock
        self._last_got_ns = -1

    def begin(self, iter_ns: int) -> "Pass":
        """A new pass over the loader: its iterator is being made or reset."""
        epoch: dict[str, Any] = {"index": self._begun, "iter_ns": iter_ns, "ready_ns": iter_ns}
        loader = self.loader()
        if loader is not None:
            epoch["numbers"] = whole_numbers(loader.dataset)
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
        self._spans.append((self.batches, *head, *note, one.paused_ns))
        self.batches += 1
        if mail is not None and mail.paths and len(self.paths) < MOST_PATHS:
            self.paths.update(dict.fromkeys(mail.paths))

    def looked(self, look: Look, epoch: int, number: int) -> None:
        """A batch that was looked at more closely was delivered."""
        if len(self._looks) < MOST_LOOKS:
            self._looks.append(msgspec.structs.replace(look, epoch=epoch, number=number))

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
            depth=self.plan.depth,
            persistent=self.plan.persistent,
            payload_bytes=max((one[_PAYLOAD] for one in self._spans), default=0),
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
            looks=tuple(
                msgspec.structs.replace(one, epoch=one.epoch - first)
                for one in tuple(self._looks)
                if one.epoch >= first
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
        self.arrived: dict[int, Mail] = {}
        self.last = -1
        self.inside = False
        """True while `__next__` runs: a subclass that calls its parent's is timed once."""
        self.maker: Maker | None = None
        self._indexed = 0
        self._pickled = (0, 0)
        self._garbage = recorder.garbage.took_ns, recorder.garbage.runs
        if recorder.plan.workers == 0:
            opened_files.hook()
            recorder.looking.resumed()
            self.maker = Maker(-1, opened_files, looking=recorder.looking)

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
        if self.maker is not None:
            note = self.maker.note or NO_NOTE
            look = self.maker.look
            if self.maker.paths and len(self.recorder.paths) < MOST_PATHS:
                self.recorder.paths.update(dict.fromkeys(self.maker.paths))
        else:
            note = mail.note if mail is not None else NO_NOTE
            look = mail.look if mail is not None else None
        if look is not None:
            self.recorder.looked(look, self.epoch["index"], self.number)
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
        self.epoch["gc_ns"] = self.recorder.garbage.took_ns - self._garbage[0]
        self.epoch["gc_runs"] = self.recorder.garbage.runs - self._garbage[1]
        self.recorder.keep(self, head, note, mail)
        self.sampler_ns = self.paused_ns = 0

    def end(self, now_ns: int, *, complete: bool) -> None:
        """The iterator is exhausted or given up."""
        if "ended_ns" not in self.epoch:
            self.epoch["ended_ns"] = now_ns
            self.epoch["complete"] = complete
        self.close()

    def close(self) -> None:
        """Give back what its maker holds open; harmless while it goes on."""
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
    for name in ("start_ns", "pickle_ns", "pickled_bytes"):
        values[name] = tuple(values.get(name, ()))
    begun = values.get("worker_begin_ns", {})
    values["worker_begin_ns"] = tuple(begun_ns - zero_ns for begun_ns in begun.values())
    return Epoch(**values)
