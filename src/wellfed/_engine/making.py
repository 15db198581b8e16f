"""How a worker makes a batch: at home as torch's worker would, or away, if it is free to move."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.utils.data import _utils

from wellfed._engine import away
from wellfed._engine.board import Page
from wellfed._engine.failures import packed_failure
from wellfed._engine.fetching import MapFetcher, fetcher_of
from wellfed._engine.positions import Seeds
from wellfed._engine.stateful import has_ended, is_stateful, put_back, said_by
from wellfed._engine.stream_states import riding
from wellfed._engine.streams import Streams
from wellfed._engine.watch.maker import Maker as Noting
from wellfed._engine.wire import Kind, Task
from wellfed.job import BEGINNING, Job, Start

__all__ = ["Made", "Maker", "Setup", "setup_of"]

# The dataset is searched for changes at a trial, and then at each 64th batch that is made away from
# its home, and of those made at home: it takes some 100 µs.
CLOSELY_EVERY = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What every worker of an iterator is told when it starts: the part of a Job that it needs."""

    dataset: Any
    iterable: bool
    batched: bool
    drop_last: bool
    collate: Callable[[Any], Any]
    workers: int
    base_seed: int
    worker_init: Callable[[int], None] | None
    by_position: bool = False
    watched: bool = False
    start: Start = BEGINNING
    asks_dataset_every: int = 0

    @property
    def keeps_streams(self) -> bool:
        """Whether batches may draw from the streams of a home, which then ride with them."""
        return not self.by_position


def setup_of(job: Job) -> Setup:
    """What the workers of this job are told."""
    # Of an iterable, the iterator may be what can be asked; that shows in the worker.
    stateful = job.iterable or is_stateful(job.dataset)
    return Setup(
        dataset=job.dataset,
        iterable=job.iterable,
        batched=job.batched,
        drop_last=job.drop_last,
        collate=job.collate or _as_they_are,
        workers=job.workers,
        base_seed=job.base_seed,
        worker_init=job.worker_init,
        by_position=job.by_position,
        watched=job.watched,
        start=job.start,
        asks_dataset_every=job.asks_dataset_every if stateful else 0,
    )


def _as_they_are(samples: Any) -> Any:
    return samples


class Made(NamedTuple):
    """What came of a task."""

    kind: int
    value: Any = None
    """The batch."""
    body: bytes = b""
    """With RAISED, the pickled exception."""
    why: int = 0
    """What it depends on besides its indices, as bits of `away`; 0 where that was not seen."""
    rides: bytes = b""
    """Where it left the random streams of its home and its dataset: see `stream_states`."""


class _Drew(Exception):
    """The first sample of a trial drew: the others need not be fetched."""


class Maker:
    """Makes batches, one at a time, in the thread that built it."""

    def __init__(
        self, setup: Setup, hosted: tuple[int, ...], page: Page, noting: Noting | None = None
    ) -> None:
        """Be torch's worker: seeded, told who it is, and through with `worker_init_fn`.

        Args:
            setup: what is loaded.
            hosted: the logical workers that live here.
            page: where to note which sample is under way.
            noting: notes what fetching takes.
        """
        self._setup = setup
        self._page = page
        self._noting = noting
        self._epoch = setup.start.epoch
        self._asks_every, self._made = setup.asks_dataset_every, 0
        self._exhausted = False
        self._away = self._at_home = 0
        self._failed = b""
        """The exception that the start ended in: what every batch comes to."""
        torch.set_num_threads(1)
        self._streams = Streams(setup.base_seed, hosted)
        self._infos = {home: _info(setup, home) for home in hosted}
        self._fetcher: Any
        for home in hosted:
            self._be(home)
            try:
                if setup.worker_init is not None:
                    setup.worker_init(home)
                held = setup.start.held.get(home, {})
                put_back(held, dataset=setup.dataset)
                self._fetcher = fetcher_of(setup, page)
                put_back(held, iterator=getattr(self._fetcher, "dataset_iter", None))
                self._exhausted = has_ended(held)
            except Exception:
                self._failed = packed_failure(home)
            if setup.keeps_streams:
                self._streams.moved()  # a draw of `worker_init_fn` is no batch's
        self._watched = self._infos[hosted[0]]
        """Who this process is while it makes batches away from home."""
        self._trial = away.Trial(setup.dataset, setup.collate, self._watched)

    def _be(self, home: int) -> None:
        """From here on this process is logical worker `home`, which may have just moved in."""
        self._streams.enter(home)
        if home not in self._infos:
            self._infos[home] = _info(self._setup, home)
        _utils.worker._worker_info = self._infos[home]

    def _fetch(self, index: Any, seeds: Seeds | None) -> Any:
        fetcher, noting = self._fetcher, self._noting
        if seeds is not None:
            fetcher.seeds = seeds
        if noting is None:
            return fetcher.fetch(index)
        return noting.fetch(type(fetcher).fetch, fetcher, index)

    def _seeds_for(self, task: Task) -> Seeds | None:
        """What to seed each sample with; None: the home's streams go on."""
        if not self._setup.by_position:
            return None
        seeds = Seeds(self._setup.base_seed, task.epoch, task.number, task.position)
        seeds.sample(0)  # where the dataset is asked for a batch as a whole
        return seeds

    # -- at home ------------------------------------------------------------------------------

    def go_on(self, task: Task) -> None:
        """Have the streams of a home go on from where they once stood: see `streams_task`."""
        self._streams.go_on(task.home, task.index)

    def at_home(self, task: Task) -> Made:
        """Make the next batch of its home, as torch's worker would."""
        made = self._made_at_home(task)
        streams = self._streams.moved() if self._setup.keeps_streams else b""
        held = self._said_by_dataset() if self._asks_every else b""
        return made._replace(rides=riding(streams, held)) if streams or held else made

    def _said_by_dataset(self) -> bytes:
        self._made += 1
        if self._made % self._asks_every:
            return b""
        try:
            said = said_by(self._setup.dataset, self._fetcher)
            return pickle.dumps(said) if said else b""
        except Exception:  # it cannot say it: then it is asked no more, and made again on resume
            self._asks_every = 0
            return b""

    def _made_at_home(self, task: Task) -> Made:
        if self._failed:
            return Made(Kind.RAISED, body=self._failed)
        self._be(task.home)
        seeds = self._seeds_for(task)
        closely = task.trial or self._looks_closely()
        if closely:
            self._trial.begin(closely=True)
        try:
            if task.epoch != self._epoch:
                self._epoch, self._exhausted = task.epoch, False
                self._fetcher = fetcher_of(self._setup, self._page)
            if self._exhausted:
                return Made(Kind.EXHAUSTED)
            made = Made(Kind.BATCH, self._fetch(task.index, seeds))
        except Exception as error:
            if isinstance(error, StopIteration) and self._setup.iterable:
                self._exhausted = True
                return Made(Kind.EXHAUSTED)
            made = Made(Kind.RAISED, body=packed_failure(task.home, self._where(task)))
        if not closely:
            return made
        found = self._trial.end(take_back=False)
        return made._replace(why=found & ~away.DREW if self._setup.by_position else found)

    def _looks_closely(self) -> bool:
        """Whether this batch shows if a home could be replaced: it could not, had it a state."""
        if self._setup.iterable or self._setup.worker_init is not None:
            return False
        self._at_home += 1
        return self._at_home % CLOSELY_EVERY == 1

    def _where(self, task: Task) -> Any:
        """The index of the sample that was being fetched; None if it was none in particular."""
        if not self._setup.batched or self._setup.iterable:
            return None if self._setup.iterable else task.index
        place = self._page.place
        try:
            return task.index[place] if place >= 0 else None
        except (TypeError, LookupError):
            return None

    # -- away from home -----------------------------------------------------------------------

    def away(self, task: Task) -> Made:
        """Make a batch for whichever home it is, or refuse it."""
        if self._failed:
            return Made(Kind.RAISED, body=self._failed)
        self.begin_away(task)
        seeds = self._seeds_for(task)
        try:
            if task.trial and task.parts > 1 and type(self._fetcher) is MapFetcher:
                # A dataset that draws mostly does so at its first sample: the rest is spared.
                self._fetcher.after_first = self._stop_if_drew
            made = Made(Kind.BATCH, self._fetch(task.index, seeds))
        except Exception:
            made = Made(Kind.RAISED, body=packed_failure(task.home, self._where(task)))
        finally:
            self._fetcher.after_first = None
        return self.end_away(task, made, seeded=seeds is not None)

    def _stop_if_drew(self) -> None:
        if not self._setup.by_position and self._trial.drew():
            raise _Drew

    def begin_away(self, task: Task) -> None:
        """What happens from here on must depend on indices alone."""
        _utils.worker._worker_info = self._watched
        self._trial.begin(closely=task.trial or self._away % CLOSELY_EVERY == 0)
        self._away += 1

    def collated(self, task: Task, samples: list[Any]) -> Made:
        """The batch of samples that threads have fetched."""
        try:
            return Made(Kind.BATCH, self._setup.collate(samples))
        except Exception:
            return Made(Kind.RAISED, body=packed_failure(task.home))

    def take_back(self) -> None:
        """Random draws since `begin_away` did not happen."""
        self._trial.end(take_back=True)

    def end_away(
        self, task: Task, made: Made, *, take_back: bool = True, seeded: bool = False
    ) -> Made:
        """What was made, or the refusal of it.

        Args:
            task: what was asked for.
            made: what came of it.
            take_back: put the random generators back to where they stood; not while other threads
                may still draw.
            seeded: whether each sample was seeded by its place, which threads cannot be.
        """
        found = self._trial.end(take_back=take_back)
        if seeded:
            found &= ~away.DREW  # its draws depend on its place alone
        if made.kind == Kind.RAISED and task.parts > 1:
            found |= away.RAISED  # with its whole batch it may raise something else
        return Made(Kind.REFUSED, why=found) if found else made


def _info(setup: Setup, home: int) -> away.Asked:
    info = away.Asked(home, setup.workers, setup.base_seed + home, setup.dataset)
    object.__setattr__(info, "asked", False)
    return info
