"""What was seen of one loader, kept without locks until a Trace is asked for.

One Recorder a loader (told by the line that built it), one Pass an iterator. All of it is written
by the thread that iterates; a second thread may at most read a slightly older state.
"""

import logging
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from wellfed._engine.reading import batches_per_epoch, length_of, read_job, read_workload
from wellfed._engine.watch.entries import Entry, span_of
from wellfed._engine.watch.epochs import epoch_of
from wellfed._engine.watch.garbage import Garbage
from wellfed._engine.watch.holdings import whole_numbers
from wellfed._engine.watch.hot_lines import Seen, Where
from wellfed._engine.watch.looking import Looking
from wellfed._engine.watch.maker import Maker
from wellfed._engine.watch.one_pass import Pass
from wellfed._engine.watch.showing import NEVER, Showing
from wellfed._engine.watch.stalls import StallClock
from wellfed._engine.watch.worker import opened_files
from wellfed.records import HotLine, LoaderSeen, Look, Plan, Site, Span, Trace, Workload

__all__ = ["Recorder"]

log = logging.getLogger(__name__)

# Spans kept: the last 20,000 batches are 25 MB of memory, and no statistic gains from more.
MOST_SPANS = 20_000
MOST_EPOCHS = 1_000  # kept, with their spans: for loaders of a batch or two
MOST_PATHS = 256
MOST_LINES = 256  # kept; reported are the hottest
MOST_HOT = 32
MOST_LOOKS = 512
MOST_DECISIONS = 4  # shown
MOST_LIMITED = 32
MOST_DEATHS = 32
MOST_PLANS = 64


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
        showing: Showing | None = None,
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
            showing: who is told now and again how the loader does; None: nobody.
        """
        self.garbage = garbage or Garbage(clock)
        self.name = name
        """What tells this loader from others; the same in every rank of a run."""
        self.site = site
        self._plans: deque[tuple[int, Plan]] = deque([(0, plan)], maxlen=MOST_PLANS)
        """From which batch on batches were made how."""
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
        self.due_ns = NEVER
        """When `show` is to be called, after a batch that was delivered by then."""
        self.memory_limit_bytes: int | None = None
        """What the loader may use; None: it has no limit of its own."""
        self.decisions: deque[str] = deque(maxlen=MOST_DECISIONS)
        """What was decided of the loader's settings while it runs, a sentence each."""
        self._showing = showing
        self._samples: Counter[Where] = Counter()
        self._locked: Counter[Where] = Counter()
        # Plain tuples of numbers are invisible to the garbage collector, however many there are.
        self._spans: deque[tuple[Any, ...]] = deque(maxlen=most_spans or MOST_SPANS)
        self._epochs: deque[dict[str, Any]] = deque(maxlen=MOST_EPOCHS)
        self._looks: list[Look] = []
        self._limited: deque[str] = deque(maxlen=MOST_LIMITED)
        self._deaths: deque[str] = deque(maxlen=MOST_DEATHS)
        self._told: set[str] = set()
        self._begun = 0
        self._clock = clock
        self._last_got_ns = -1
        self._idle_makers: list[Maker] = []

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy of the loader, in this process or another, was seen nowhere yet.
        return type(None), ()

    @property
    def plan(self) -> Plan:
        """How batches are made now."""
        return self._plans[-1][1]

    @plan.setter
    def plan(self, plan: Plan) -> None:
        if plan != self.plan:
            self._plans.append((self.batches, plan))

    def begin(self, iter_ns: int, *, lightly: bool = False, shown: bool = True) -> "Pass":
        """A new pass over the loader: its iterator is being made or reset.

        Args:
            iter_ns: when that began.
            lightly: it needs no maker; the engine's streams have their own.
            shown: whether this pass is to be shown; not where another recorder shows it.
        """
        if not shown or self._showing is None:
            self.due_ns = NEVER
        elif self.due_ns == NEVER:
            self.due_ns = self._showing.after(iter_ns)
        epoch: dict[str, Any] = {"index": self._begun, "iter_ns": iter_ns, "ready_ns": iter_ns}
        loader = self.loader()
        if loader is not None and not lightly:
            epoch["numbers"] = whole_numbers(loader.dataset)
        self._epochs.append(epoch)
        self._begun += 1
        self._last_got_ns = -1
        return Pass(self, epoch, lightly=lightly)

    def limited(self, direction: str, sentence: str) -> None:
        """A limit changed how batches are made: for "less", or for "more" again.

        Each direction is logged once, and all of it is for the report.
        """
        if direction not in self._told:
            self._told.add(direction)
            log.log(logging.WARNING if direction == "less" else logging.INFO, "%s", sentence)
        self._limited.append(sentence)

    def died(self, sentence: str) -> None:
        """A worker process died, and another has its place."""
        self._deaths.append(sentence)

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
        if got >= self.due_ns:
            self.show(got)

    def keep_lightly(self, entry: tuple[Any, ...]) -> None:
        """A batch was delivered of a loader that nobody observes: an Entry, as a plain tuple."""
        self._spans.append(entry)
        self.batches += 1

    def show(self, now_ns: int) -> None:
        """Tell who is to be told how the loader does, and when next."""
        if self._showing is not None:
            self._showing.show(self)
            self.due_ns = self._showing.after(now_ns)

    def looked(self, look: Look, epoch: int, number: int) -> None:
        """A batch that was looked at more closely was delivered."""
        if len(self._looks) < MOST_LOOKS:
            self._looks.append(msgspec.structs.replace(look, epoch=epoch, number=number))

    def opened(self, paths: list[str]) -> None:
        """These files were seen opened."""
        if paths and len(self.paths) < MOST_PATHS:
            self.paths.update(dict.fromkeys(paths))

    def sampled(self, lines: Sequence[Seen]) -> None:
        """Those that make batches were seen in these lines."""
        for *place, samples, locked in lines:
            where: Where = tuple(place)  # type: ignore[assignment]
            if where in self._samples or len(self._samples) < MOST_LINES:
                self._samples[where] += samples
                self._locked[where] += locked

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
        self.sampled(maker.left())
        maker.close()
        self._idle_makers.append(maker)

    @property
    def entries(self) -> "deque[tuple[Any, ...]]":
        """What is kept of the last batches, an Entry each as a plain tuple. Not to be changed."""
        return self._spans

    @property
    def loads(self) -> Workload:
        """What the loader loads, without asking its dataset."""
        return self._workload

    @property
    def whole_epoch(self) -> int | None:
        """Batches of a whole epoch; None if none was seen whole."""
        whole = (one.get("batches", 0) for one in tuple(self._epochs) if one.get("complete"))
        return max(whole, default=0) or None

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
        batches = self.whole_epoch if batches is None else batches
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
            payload_bytes=max(
                (span.payload_bytes for span in self._made_spans(tuple(self._spans), self.plan)),
                default=0,
            ),
        )

    def trace(self, zero_ns: int, ended_ns: int, **more: Any) -> Trace:
        """Everything so far as a Trace whose times count from `zero_ns`.

        Where the plan has changed it is of the one that made most of the batches that are kept.
        """
        self.stall.resolve()
        epochs = tuple(self._epochs)
        first = epochs[0]["index"] if epochs else 0
        plan, entries = self._longest()
        spans = tuple(self._made_spans(entries, plan, first, zero_ns))
        return Trace(
            plan=plan,
            site=self.site,
            loader=self.kind,
            ended_ns=ended_ns - zero_ns,
            spans=spans,
            spans_dropped=self.batches - len(spans),
            epochs=tuple(epoch_of(one, first, zero_ns) for one in epochs),
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
            limited=tuple(self._limited),
            deaths=tuple(self._deaths),
            looks=tuple(
                msgspec.structs.replace(one, epoch=one.epoch - first)
                for one in tuple(self._looks)
                if one.epoch >= first
            ),
            **more,
        )

    def _longest(self) -> tuple[Plan, tuple[tuple[Any, ...], ...]]:
        """The plan that made most of what is kept, and what it made; of equals the last."""
        kept, plans = tuple(self._spans), tuple(self._plans)
        dropped = self.batches - len(kept)
        starts = [max(0, number - dropped) for number, _ in plans]
        starts[0] = 0
        parts = [
            (plan, kept[begun:ended])
            for (_, plan), begun, ended in zip(plans, starts, [*starts[1:], None], strict=True)
        ]
        longest: tuple[Plan, tuple[tuple[Any, ...], ...]] = max(
            reversed(parts), key=lambda part: len(part[1])
        )
        return longest

    def _made_spans(
        self, entries: Iterable[tuple[Any, ...]], plan: Plan, first: int = 0, zero_ns: int = 0
    ) -> Iterator[Span]:
        """The spans of these entries, from epoch `first` on."""
        for one in map(Entry._make, entries):
            if one.epoch >= first:
                yield span_of(
                    one,
                    first_epoch=first,
                    zero_ns=zero_ns,
                    stall_ns=self.stall.stalls_ns.get(one.key, -1),
                    inside=plan.backend == "inline",
                )
