"""Watches one maker of batches, a worker or the trainer itself, and writes a note per batch.

    fetch of torch's fetcher
      ├─ dataset[i] or next(...)   each one timed by a stand-in that lives only during the fetch
      └─ collate_fn(samples)       likewise

Guarantees
- torch's own fetcher runs, with the user's own dataset and collate function behind the stand-ins:
  the same calls in the same order, `__getitems__` found and called as before, exceptions untouched;
- no random number is drawn and no generator state is written;
- a failure of the watching itself leaves the batch alone: it ends the notes, with one warning;
- one batch costs about 30 µs, and 1 µs a sample where each one is timed; that is noted as
  `watch_ns`, but for the stand-ins' own share of it, which cannot be told from the fetch;
- a sparing maker lets most quick batches go unwatched: it takes a part in 200 of the time at most.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from wellfed._engine.randomness import drew, states
from wellfed._engine.watch.content import look
from wellfed._engine.watch.counters import Counters, Reading
from wellfed._engine.watch.fetch import Fetch
from wellfed._engine.watch.hot_lines import HotLines, Seen
from wellfed._engine.watch.looking import Looking
from wellfed._engine.watch.note import (
    ALLOWED,
    CORE,
    DREW,
    OBJECTS,
    PAYLOAD,
    TENSORS,
    THREADS,
    WATCH,
    Note,
    buckets,
)
from wellfed._engine.watch.opened_files import OpenedFiles
from wellfed._engine.watch.placement import allowed_cpus, cpu_core, threads
from wellfed.records import Look

__all__ = ["Maker"]

log = logging.getLogger(__name__)

# Looking into a batch or at the generators costs tens of µs: done for the first batches, which
# settle what a batch is made of, and then now and again to notice a change.
LOOK_FIRST = 4
LOOK_EVERY = 16
RNG_FIRST = 2
RNG_EVERY = 64

# Timing each sample and reading the counters in /proc cost some 40 µs of the 60 that watching a
# batch of 32 costs. Where batches take less than a millisecond, one in five is watched that
# closely: an odd number, because shards and buffers come in powers of two.
CHEAP_NS = 1_000_000
CLOSELY_EVERY = 5
# Some switch intervals of Python's, which is as closely as the trainer's own fetches are sampled.
LONG_NS = 20_000_000
MEAN_OVER = 16

# What a sparing maker spends of the time that making takes: the step in the trainer's process is
# to be slowed down by less than half a per cent.
SPARED = 200
# More than that is the first time's: descriptors are opened, modules loaded.
MOST_WATCH_NS = 200_000
# A stand-in around one sample takes so long: two looks at the clock and two calls.
STAND_IN_NS = 1_000


class Maker:
    """Notes what making each batch took. One for each worker process or in-process loader."""

    def __init__(
        self,
        worker: int,
        opened: OpenedFiles,
        clock: Callable[[], int] = time.perf_counter_ns,
        *,
        sparing: bool = False,
        seeded: bool = False,
        looking: Looking | None = None,
        known: bool = False,
    ) -> None:
        """Prepare; nothing is opened before the first fetch.

        Args:
            worker: number of the worker; -1 in the trainer's process.
            opened: which files are opened meanwhile.
            clock: monotonic nanoseconds, the same in every process.
            sparing: note only as many batches as the time that making takes allows for, and do not
                look at the random generators, which costs most.
            seeded: the engine seeds each sample, so that draws cannot be told from that.
            looking: decides about closer looks at batches; None: there are none.
            known: others like it were watched before, and their first batches told enough.
        """
        self.worker = worker
        self.clock = clock
        self.begun_ns = clock()
        self.feeder_cpu_ns = 0
        """CPU time of the queue's feeder thread, which alone writes it: not native threads'."""
        self.note: Note | None = None
        """What the last fetch took; None before the first, and once watching has failed."""
        self.paths: list[str] = []
        """Files newly seen opened during that fetch."""
        self.lines: list[Seen] = []
        """Where fetches spent their time, as sampled since the last batch that was looked into."""
        self.look: Look | None = None
        """What a closer look at that batch showed, where there was one."""
        self.looking = looking
        self._batches = LOOK_FIRST if known else 0
        self._opened = opened
        self._paths_sent = 0
        self._beside_seen_ns = 0
        self._counters: Counters | None = None
        self._hot: HotLines | None = None
        self._mean_ns = 0.0
        self._taken_ns = -1
        self._idle_ns = 0
        self._off = False
        self._sparing = sparing
        self.seeded = seeded
        self._spent_ns = 0
        self._made_ns = 0

    def took(self, taken_ns: int, idle_ns: int) -> None:
        """The worker took a request from its queue after waiting `idle_ns` for it."""
        self._taken_ns = taken_ns
        self._idle_ns = idle_ns

    def fetch(self, original: Callable[[Any, Any], Any], fetcher: Any, index: Any) -> Any:
        """Run torch's `fetch` for `index`, watched; returns the batch and sets `note`.

        A sparing maker leaves `note` at None where this batch is not watched.
        """
        self.note = self.look = None
        if self._sparing and self._spent_ns * SPARED > self._made_ns:
            return self._unwatched(original, fetcher, index)
        fetch = self._begin(fetcher) if not self._off else None
        if fetch is None:
            return original(fetcher, index)
        try:
            batch = original(fetcher, index)
        finally:
            fetched_ns = self.clock()
            self._opened.listening = False
            if self._hot is not None:
                self._hot.fetching = False
            fetch.take_out()
        self._end(fetch, fetched_ns, index, batch)
        return batch

    def _unwatched(self, original: Callable[[Any, Any], Any], fetcher: Any, index: Any) -> Any:
        began_ns = self.clock()
        batch = original(fetcher, index)
        self._made_ns += self.clock() - began_ns
        return batch

    def _begin(self, fetcher: Any) -> Fetch | None:
        entered_ns = self.clock()
        fetch = None
        try:
            fetch = Fetch(fetcher, self.looking, self.clock, closely=self._closely())
            fetch.entered_ns = entered_ns
            if self.looking is not None:
                self.looking.begin(fetch.dataset)
            look = self._batches < RNG_FIRST or self._batches % RNG_EVERY == 0
            if look and not self.seeded and not self._sparing:
                fetch.states = states()
            fetch.put_in()
            fetch.before = self._counters_here().read(files=fetch.closely)
            self._opened.listening = True
            if self._hot is not None:
                self._hot.fetching = True
            fetch.began_ns = self.clock()
        except Exception:
            self._fail(fetch)
            return None
        return fetch

    def _end(self, fetch: Fetch, fetched_ns: int, index: Any, batch: Any) -> None:
        try:
            after = self._counters_here().read(files=fetch.closely)
            fetch_ns = fetched_ns - fetch.began_ns - fetch.looked_ns
            samples = fetch.samples(index, batch)
            note = self._write(fetch, after, fetch_ns, samples)
            self._mean_ns += (fetch_ns - self._mean_ns) / min(self._batches + 1, MEAN_OVER)
            looked = self._is_looked_into()
            self.describe(note, batch)
            if looked:
                self._sample_lines()
            if fetch.states is not None:
                note[DREW] = drew(fetch.states, states())
            if self.looking is not None:
                self.look = self.looking.end(fetch.dataset, samples)
            watched_ns = self.clock() - fetched_ns + fetch.looked_ns
            note[WATCH] = watched_ns + fetch.began_ns - fetch.entered_ns
            self._spent_ns += min(note[WATCH], MOST_WATCH_NS) + STAND_IN_NS * len(fetch.took_ns)
            self._made_ns += fetch_ns
            self.note = note
        except Exception:
            self._fail(fetch)

    def describe(self, note: Note, batch: Any) -> None:
        """What is in the batch, and where its maker runs: at first, and then now and again."""
        self.paths, self.lines = [], []
        if self._is_looked_into():
            note[TENSORS], note[PAYLOAD], note[OBJECTS] = look(batch)
            note[THREADS], note[ALLOWED], note[CORE] = threads(), allowed_cpus(), cpu_core()
            note[THREADS] -= self._hot is not None
            self.paths = self._opened.new_since(self._paths_sent)
            self._paths_sent += len(self.paths)
        self._batches += 1

    def _is_looked_into(self) -> bool:
        return self._batches < LOOK_FIRST or self._batches % LOOK_EVERY == 0

    def _sample_lines(self) -> None:
        """What was sampled; begins where batches turn out to take some time."""
        if self._hot is not None:
            self.lines = self._hot.take()
        elif not self._sparing and self._mean_ns >= (CHEAP_NS if self.worker >= 0 else LONG_NS):
            self._hot = HotLines(often=self.worker >= 0)

    def _closely(self) -> bool:
        # By the mean, not by the last batch: whether one is watched must not depend on it.
        return (
            self._mean_ns >= CHEAP_NS
            or self._batches < LOOK_FIRST
            or self._batches % CLOSELY_EVERY == 0
        )

    def _fail(self, fetch: Fetch | None) -> None:
        """Watching itself failed: no more of it."""
        self._off, self._opened.listening = True, False
        if fetch is not None:
            fetch.take_out()
        log.warning(
            "wellfed: watching failed where batches are made and is now off there; "
            "training is not affected",
            exc_info=True,
        )

    def _counters_here(self) -> Counters:
        thread = threading.get_native_id()
        if self._counters is None or self._counters.thread != thread:
            self.close()
            self._counters = Counters(whole_process_io=self.worker >= 0)
        return self._counters

    def close(self) -> None:
        """Give back what the counters hold open; a later fetch opens them again."""
        if self._counters is not None:
            self._counters.close()
            self._counters = None
        if self._hot is not None:
            self._hot.close()

    def left(self) -> list[Seen]:
        """What was sampled since the last batch that was looked into; a later fetch begins anew."""
        hot, self._hot = self._hot, None
        if hot is None:
            return []
        hot.close()
        return hot.take()

    def _write(self, fetch: Fetch, after: Reading, fetch_ns: int, samples: int) -> Note:
        before, took_ns = fetch.before, fetch.took_ns
        cpu = after.cpu_ns - before.cpu_ns
        beside_ns = self.feeder_cpu_ns + (self._hot.cpu_ns if self._hot is not None else 0)
        others = after.process_cpu_ns - before.process_cpu_ns - cpu
        others -= beside_ns - self._beside_seen_ns
        self._beside_seen_ns = beside_ns
        return [
            self.worker,
            os.getpid(),
            self._taken_ns,
            self._idle_ns,
            fetch_ns,
            fetch.collate_ns,
            cpu,
            fetch.collate_cpu_ns,
            others if others > 0 else 0,
            _minus(after.run_queue_ns, before.run_queue_ns),
            after.major_faults - before.major_faults,
            after.minor_faults - before.minor_faults,
            _minus(after.read_bytes, before.read_bytes),
            _minus(after.read_chars, before.read_chars),
            _minus(after.read_calls, before.read_calls),
            after.yields - before.yields,
            after.preemptions - before.preemptions,
            0,  # serialise_ns, serialise_cpu_ns, queued_ns, sent_ns: the outbox fills them in
            0,
            0,
            -1,
            samples,
            -1,  # tensors, payload_bytes, objects: by `look`, now and again
            -1,
            -1,
            sum(took_ns),
            max(took_ns, default=0),
            buckets(took_ns),
            -1,  # drew, threads, allowed_cpus, cpu_core: now and again
            -1,
            0,
            -1,
            -1,
        ]


def _minus(after: int | None, before: int | None) -> int:
    return -1 if after is None or before is None else after - before
