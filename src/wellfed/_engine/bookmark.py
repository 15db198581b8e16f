"""How far a loader has come: its iterators tell, and the next one is told where to take it up."""

import logging
import weakref
from typing import Any, Protocol

from wellfed._engine import away, owned
from wellfed._engine.auto_workers import AutoWorkers
from wellfed._engine.passage import Resumption
from wellfed._engine.reading import length_of
from wellfed._engine.resume import (
    AGAIN,
    FORMAT,
    VERSION,
    Kind,
    Passed,
    Position,
    doubts,
    ended_if,
    read,
    way,
)
from wellfed._engine.stateful import is_stateful, said_by
from wellfed.errors import UsageError
from wellfed.job import BEGINNING, Job, Start

__all__ = ["Bookmark", "kind_of", "passed_of", "start_of"]

log = logging.getLogger(__name__)


class Tells(Protocol):
    """An iterator that can say how far it has come."""

    def passed(self) -> Passed | None:
        """None where what follows shares nothing with it."""


class Bookmark:
    """Of one loader, over all its iterators: that which was begun last counts."""

    def __init__(self, loader: Any) -> None:
        """It was not begun."""
        self.loader = weakref.ref(loader)
        """Whose it is; a copy of the loader has not come anywhere."""
        self._iterator: weakref.ref[Tells] | None = None
        self._passed: Passed | None = None
        self._resumption: Resumption | None = None
        self._loaded: Position | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()

    def follow(self, iterator: Tells) -> None:
        """It begins."""
        self._iterator, self._passed, self._loaded = weakref.ref(iterator), None, None

    def leave(self, iterator: Tells) -> None:
        """It is about to end."""
        if self._iterator is None or self._iterator() not in (iterator, None):
            return
        self._iterator = None
        try:
            self._passed = iterator.passed()
        except Exception:  # of the user's own, or at the end of the program
            self._passed = None

    def position(self, loader: Any) -> Position:
        """Where the loader stands."""
        if self._loaded is not None:  # and not gone on from
            return self._loaded
        iterator = self._iterator() if self._iterator is not None else None
        passed = iterator.passed() if iterator is not None else self._passed
        return Position(
            format=FORMAT,
            version=VERSION,
            loader=kind_of(loader),
            generators=[owned.standing(one) for one in owned.generators_of(loader)],
            epoch=passed,
        )

    def load(
        self, loader: Any, state: Any, replay: bool | None, *, next_if_none_left: bool = False
    ) -> None:
        """The next iterator is to go on from there.

        Args:
            loader: whose it is.
            state: what `plain` returned.
            replay: whether to make again what was delivered; None: where that is necessary.
            next_if_none_left: whether that is the next epoch, where no batch of this one is left.

        Raises:
            UsageError: it cannot; the message says why.
        """
        kind, generators = kind_of(loader), owned.generators_of(loader)
        position = read(state, kind)
        if next_if_none_left:
            position = ended_if(position, _batches_of(loader), persistent=loader.persistent_workers)
        if len(position.generators) != len(generators):
            raise UsageError(
                f"the loader that was saved held {len(position.generators)} random generators "
                f"with its sampler, and this one holds {len(generators)}. Make the sampler and "
                "`generator` as they were."
            )
        again = way(position, replay) == AGAIN
        for said in doubts(position, kind, again=again):
            log.warning("%s", said)
        self._iterator, self._passed, self._loaded = None, None, position
        self._resumption = None
        if position.epoch is not None:
            self._resumption = Resumption(position.epoch, position.generators, again=again)
            return
        for generator, stood in zip(generators, position.generators, strict=True):
            owned.put_back(generator, stood)

    def taken_up(self) -> Resumption | None:
        """Where to take the loader up; None: at the beginning. Asked once."""
        resumption, self._resumption = self._resumption, None
        return resumption


def _batches_of(loader: Any) -> int | None:
    try:
        return None if loader._dataset_kind else len(loader)
    except TypeError:  # a sampler without a length
        return None


def kind_of(loader: Any) -> Kind:
    """What a state must agree in with this loader."""
    samplers = dict.fromkeys((type(loader._index_sampler), type(loader.sampler)))
    return Kind(
        samples=length_of(loader.dataset),
        batch_size=loader.batch_size,
        drop_last=bool(loader.drop_last),
        in_order=bool(loader.in_order),
        sampler=" of ".join(kind.__qualname__ for kind in samplers),
        iterable=loader._dataset_kind != 0,
        auto=isinstance(loader.num_workers, AutoWorkers),
        workers=int(loader.num_workers),
    )


def start_of(resumption: Resumption, job: Job) -> Start:
    """Where a stream begins to go on from there."""
    passed = resumption.passed
    if resumption.again:
        return BEGINNING
    if passed.ended:
        return Start(epoch=passed.number + 1, streams=passed.streams, held=passed.held)
    return Start(
        epoch=passed.number,
        number=passed.delivered,
        position=passed.position,
        # Of an iterable, workers that have ended are passed over; else batch k has home k mod N.
        turn=passed.turn if job.iterable else passed.delivered % max(1, job.workers),
        beyond=frozenset(passed.beyond),
        streams=passed.streams,
        held=passed.held,
    )


def passed_of(iterator: Any) -> Passed | None:
    """How far an iterator of the engine has come."""
    job: Job = iterator._job
    ended = bool(iterator._ended)
    if ended and not iterator._persistent_workers:
        return None
    passage, stream = iterator._passage, iterator._stream
    begun, first = passage.surroundings
    standing = getattr(stream, "standing", None)
    start = standing.following() if standing is not None else _start_inline(iterator)
    position, sampler = passage.place(start.number)
    lacks = _lacks(job, start, standing.homes if standing is not None else [0])
    fixed = getattr(stream, "why_fixed", None) or ""
    return Passed(
        number=iterator._begun_passes,
        base_seed=job.base_seed,
        ended=ended,
        begun=begun,
        first=first,
        delivered=start.number,
        beyond=sorted(start.beyond),
        position=start.position or position,
        turn=start.turn,
        was_read=passage.was_read(iterator.delivered),
        sampler=sampler,
        streams=start.streams,
        held=start.held,
        lacks=lacks,
        worker_matters=_why_workers_matter(job, start, lacks, fixed),
        doubt=next((one for one in _DOUBTFUL if one in fixed), ""),
    )


_DOUBTFUL = (away.why(away.CHANGED), away.MODULE_DRAWS)


def _start_inline(iterator: Any) -> Start:
    job: Job = iterator._job
    said: dict[str, Any] = {}
    if not job.by_position and job.asks_dataset_every:
        said = said_by(job.dataset, getattr(iterator._stream, "fetcher", None))
    return Start(number=iterator.delivered, held={0: said} if said else {})


def _lacks(job: Job, start: Start, homes: list[int]) -> str:
    """What batches depend on besides what is saved."""
    said = all(home in start.held for home in homes)
    if not start.number and not start.epoch:
        return ""
    if job.iterable:
        if said or not start.number:
            return ""
        return "the iterable dataset has no state_dict, and cannot be set to a place"
    own = away.own_state(job)
    if own is None or (said and is_stateful(job.dataset)):
        return ""
    return own


def _why_workers_matter(job: Job, start: Start, lacks: str, fixed: str) -> str:
    if job.iterable:
        return "each worker reads the iterable dataset by itself"
    if lacks or start.held:
        return lacks or "the dataset of each worker has a state of its own"
    if start.streams:
        return "its batches draw from random streams that each worker has of its own"
    return away.why(away.ASKED) if away.why(away.ASKED) in fixed else ""
