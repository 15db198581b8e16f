"""What was seen of one loader, kept without locks until a Trace is asked for.

One Recorder a loader (told by the line that built it), one Pass an iterator. All of it is written
by the thread that iterates; a second thread may at most read a slightly older state.
"""

import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from wellfed._engine.reading import batches_per_epoch, length_of, read_job, read_workload
from wellfed._engine.watch.entries import Entry, span_of
from wellfed._engine.watch.epochs import epoch_of
from wellfed._engine.watch.fingerprints import of_indices
from wellfed._engine.watch.garbage import Garbage
from wellfed._engine.watch.holdings import whole_numbers
from wellfed._engine.watch.letters import Delivery, opened
from wellfed._engine.watch.looking import Looking
from wellfed._engine.watch.maker import Maker
from wellfed._engine.watch.note import PID
from wellfed._engine.watch.stalls import StallClock
from wellfed._engine.watch.worker import Mail, opened_files
from wellfed.records import LoaderSeen, Look, Plan, Site, Span, Trace, Workload

__all__ = ["Pass", "Recorder"]

# Spans kept: the last 20,000 batches are 25 MB of memory, and no statistic gains from more.
MOST_SPANS = 20_000
MOST_EPOCHS = 1_000  # kept, with their spans: for loaders of a batch or two
MOST_PATHS = 256
MOST_LOOKS = 512
# Batches of each epoch of whose indices a fingerprint is taken: two shuffles agree on none of them.
ORDER_OF = 4


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
        garbage: Garbage | None = None,
    ) -> None:
        """Nothing was seen yet.

        Args:
            site: the line that built it.
            loader: what is watched.
            plan: how its batches are made.
            clock: monotonic nanoseconds, the same in every process.
            name: what tells this loader from others.
            most_spans: spans kept, the last ones; None for MOST_SPANS.
            garbage: counts the process's full collections; None: they are not counted.
        """
        self.garbage = garbage or Garbage(clock)
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
        # Plain tuples of numbers are invisible to the garbage collector, however many there are.
        self._spans: deque[tuple[Any, ...]] = deque(maxlen=most_spans or MOST_SPANS)
        self._epochs: deque[dict[str, Any]] = deque(maxlen=MOST_EPOCHS)
        self._looks: list[Look] = []
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
        epoch: dict[str, Any] = {"index": self._begun, "iter_ns": iter_ns, "ready_ns": iter_ns}
        loader = self.loader()
        if loader is not None and not lightly:
            epoch["numbers"] = whole_numbers(loader.dataset)
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

    def looked(self, look: Look, epoch: int, number: int) -> None:
        """A batch that was looked at more closely was delivered."""
        if len(self._looks) < MOST_LOOKS:
            self._looks.append(msgspec.structs.replace(look, epoch=epoch, number=number))

    def opened(self, paths: list[str]) -> None:
        """These files were seen opened."""
        if paths and len(self.paths) < MOST_PATHS:
            self.paths.update(dict.fromkeys(paths))

    def lend_maker(self) -> Maker:
        """A maker for a pass that makes its batches in the thread that asks; to be given back."""
        if not self._idle_makers:
            opened_files.hook()
            return Maker(-1, opened_files, looking=Looking(-1))
        maker = self._idle_makers.pop()
        if maker.looking is not None:
            maker.looking.resumed()
        return maker

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
            depth=self.plan.depth,
            persistent=self.plan.persistent,
            payload_bytes=max((span.payload_bytes for span in self._made_spans()), default=0),
        )

    def trace(self, zero_ns: int, ended_ns: int, **more: Any) -> Trace:
        """Everything so far as a Trace whose times count from `zero_ns`."""
        self.stall.resolve()
        epochs = tuple(self._epochs)
        first = epochs[0]["index"] if epochs else 0
        spans = tuple(self._made_spans(first, zero_ns))
        return Trace(
            plan=self.plan,
            site=self.site,
            loader=self.kind,
            ended_ns=ended_ns - zero_ns,
            spans=spans,
            spans_dropped=self.batches - len(spans),
            epochs=tuple(epoch_of(one, first, zero_ns) for one in epochs),
            device="cuda" if self.stall.stalls_ns else "cpu",
            looks=tuple(
                msgspec.structs.replace(one, epoch=one.epoch - first)
                for one in tuple(self._looks)
                if one.epoch >= first
            ),
            **more,
        )

    def _made_spans(self, first: int = 0, zero_ns: int = 0) -> Iterator[Span]:
        """The spans of what is kept, from epoch `first` on."""
        for one in map(Entry._make, tuple(self._spans)):
            if one.epoch >= first:
                yield span_of(
                    one,
                    first_epoch=first,
                    zero_ns=zero_ns,
                    stall_ns=self.stall.stalls_ns.get(one.key, -1),
                    inside=self.plan.backend == "inline",
                )


class Pass:
    """One iterator's way over a loader: which notes have arrived, which batch is next."""

    def __init__(self, recorder: Recorder, epoch: dict[str, Any], *, lightly: bool = False) -> None:
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
        if recorder.plan.workers == 0 and not lightly:
            self.maker = recorder.lend_maker()

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
            self._look(self.maker.look)
        elif mail is not None:
            note, paths = mail.note, mail.paths
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

    def end(self, now_ns: int, *, complete: bool) -> None:
        """The iterator is exhausted or given up."""
        if "ended_ns" not in self.epoch:
            self.epoch["ended_ns"] = now_ns
            self.epoch["complete"] = complete
        self.close()

    def close(self) -> None:
        """Give back what its maker holds open; harmless while it goes on."""
        if self.maker is None:
            return
        self.maker.close()
        if "ended_ns" in self.epoch:
            self.recorder.take_back(self.maker)
            self.maker = None

    def __del__(self) -> None:
        # An iterator without workers that is given up is told nobody.
        self.close()
