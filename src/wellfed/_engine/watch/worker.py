"""What runs in a worker of torch's own loader while it is watched.

    index queue ─ Inbox ─► torch's worker loop ─ Outbox ─► result queue ─► trainer
                  (idle)       └ fetch: Maker      └ Envelope: note rides with the batch

Guarantees
- torch's own loop runs, unchanged; only the two queues it was given are wrapped;
- the batch is pickled exactly as before: an Envelope is taken apart again by unpickling, so the
  trainer gets torch's plain `(index, batch)`, where the index is an `int` that carries the note;
- notes need no queue and no thread of their own; a worker that dies loses only its last notes;
- the functions here are importable by name, so that spawn and forkserver find them.
"""

import logging
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from torch._utils import ExceptionWrapper
from torch.utils.data._utils import fetch as _torch_fetch
from torch.utils.data._utils.worker import _ResumeIteration
from torch.utils.data._utils.worker import _worker_loop as _torch_worker_loop

from wellfed._engine.watch import frames
from wellfed._engine.watch.hot_lines import Seen
from wellfed._engine.watch.looking import Looking
from wellfed._engine.watch.maker import Maker
from wellfed._engine.watch.note import QUEUED, SENT, SERIALISE, SERIALISE_CPU, Note
from wellfed._engine.watch.opened_files import OpenedFiles
from wellfed.records import Look

__all__ = [
    "FETCHERS",
    "Index",
    "Mail",
    "current",
    "opened_files",
    "serve",
    "watched_fetch",
    "watched_loop",
    "watched_torchdata_loop",
]

log = logging.getLogger(__name__)

FETCHERS: tuple[type[Any], ...] = (
    _torch_fetch._MapDatasetFetcher,
    _torch_fetch._IterableDatasetFetcher,
)


class _Current(threading.local):
    """Which maker the running thread's fetches belong to; None: not watched."""

    maker: Maker | None = None
    iterator: Any = None
    """The iterator that the maker serves, in the trainer."""
    message_bytes: int = 0
    """Length of the message that this thread is about to unpickle."""
    known: bool = False
    """Whether enough is known of the workers that this thread is about to start; forked ones find
    it here."""


# Process-wide by nature: torch's fetcher classes are, and Python's audit hook cannot be removed.
current = _Current()
opened_files = OpenedFiles()


def serve(iterator: Any, watched: Any) -> tuple[Maker | None, Any]:
    """From here on this thread's fetches are those of the watched pass over `iterator`.

    Returns:
        What they were before, to be put back.
    """
    outer = current.maker, current.iterator
    if current.iterator is iterator:  # a second watch sees it too: one maker notes for both
        watched.maker = current.maker
    elif watched.maker is not None:
        watched.maker.note = None
    current.maker, current.iterator = watched.maker, iterator
    return outer


class Mail:
    """What an Envelope carried, and when it was opened."""

    __slots__ = (
        "begun_ns",
        "lines",
        "look",
        "message_bytes",
        "note",
        "opened_ns",
        "opening_ns",
        "paths",
        "pin_ns",
    )

    def __init__(
        self,
        opening_ns: int,
        message_bytes: int,
        note: Note,
        paths: list[str],
        begun_ns: int,
        lines: list[Seen] | None = None,
        look: Look | None = None,
    ) -> None:
        self.pin_ns = 0
        self.opening_ns = opening_ns
        self.opened_ns = time.perf_counter_ns()
        self.message_bytes = message_bytes
        self.note = note
        self.paths = paths
        self.begun_ns = begun_ns
        self.lines = lines or []
        self.look = look


class Index(int):
    """torch's batch index, with the maker's note attached. Equal and hashed as the int it is."""

    mail: Mail


class _Begin:
    """Pickled first: notes when serialisation begins; unpickled first: notes when opening does."""

    __slots__ = ("_envelope",)

    def __init__(self, envelope: "Envelope") -> None:
        self._envelope = envelope

    def __reduce__(self) -> tuple[Any, ...]:
        self._envelope.begin()
        return time.perf_counter_ns, ()


class _End:
    """Pickled last: closes the note, with the time that serialisation took."""

    __slots__ = ("_envelope",)

    def __init__(self, envelope: "Envelope") -> None:
        self._envelope = envelope

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (self._envelope.end(),)


class Envelope:
    """A batch on its way through torch's result queue, with a note about its making.

    NOTE [Why the note rides inside the pickle]
    Pickling writes the parts in order: `_Begin`, the index, the batch, `_End`. Each end is asked
    for its contents at the moment it is written, which is how serialisation is timed without
    touching the queue; unpickling builds them in the same order, which times the receiving side.
    """

    __slots__ = (
        "_began_cpu_ns",
        "_began_ns",
        "_data",
        "_index",
        "_lines",
        "_look",
        "_maker",
        "_note",
        "_paths",
        "_put_ns",
    )

    def __init__(
        self,
        index: int,
        data: Any,
        maker: Maker,
        note: Note,
        paths: list[str],
        lines: list[Seen] | None = None,
    ) -> None:
        self._index = index
        self._data = data
        self._maker = maker
        self._note = note
        self._paths = paths
        self._lines = lines or []
        self._look = maker.look
        self._put_ns = maker.clock()

    def begin(self) -> None:
        """Serialisation begins, in the queue's feeder thread."""
        self._began_ns = self._maker.clock()
        self._began_cpu_ns = time.thread_time_ns()

    def end(self) -> tuple[Any, ...]:
        """Serialisation of the batch is done: the finished note, or nothing if that fails."""
        try:
            return self._finish()
        except Exception:  # here, in the queue's feeder thread, it would lose the batch
            log.warning("wellfed: the note of a batch failed; the batch is unharmed", exc_info=True)
            return ()

    def _finish(self) -> tuple[Any, ...]:
        now = self._maker.clock()
        cpu = time.thread_time_ns() - self._began_cpu_ns
        note = self._note
        note[SERIALISE] = now - self._began_ns
        note[SERIALISE_CPU] = cpu
        note[QUEUED] = self._began_ns - self._put_ns
        note[SENT] = now
        self._maker.feeder_cpu_ns += cpu
        return (note, self._paths, self._maker.begun_ns, self._lines, self._look)

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_envelope, (_Begin(self), self._index, self._data, _End(self))


def _open_envelope(
    opening_ns: int,
    number: int,
    data: Any,
    written: tuple[Note, list[str], int, list[Seen], Look | None] | tuple[()],
) -> tuple[Index, Any]:
    """Runs in the trainer (or its pinning thread): back to torch's plain pair."""
    index = Index(number)
    # Taken even from a message without a note: the next one's may not have been measured.
    message_bytes, current.message_bytes = current.message_bytes, 0
    if written:
        index.mail = Mail(opening_ns, message_bytes, *written)
    return index, data


class _Inbox:
    """A worker's index queue; notes how long the worker was idle."""

    def __init__(self, queue: Any, maker: Maker) -> None:
        self._queue = queue
        self._maker = maker
        self._idle_since_ns = maker.clock()

    def get(self, *args: Any, **kwargs: Any) -> Any:
        request = self._queue.get(*args, **kwargs)
        now = self._maker.clock()
        self._maker.took(now, now - self._idle_since_ns)
        if isinstance(request, _ResumeIteration) and self._maker.looking is not None:
            self._maker.looking.resumed()
        return request

    def resumed(self) -> None:
        """The batch was handed over: from here on the worker is idle again."""
        self._idle_since_ns = self._maker.clock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


class _Outbox:
    """The result queue as a worker sees it; puts each batch into an Envelope."""

    def __init__(self, queue: Any, maker: Maker, inbox: _Inbox) -> None:
        self._queue = queue
        self._maker = maker
        self._inbox = inbox

    def put(self, item: Any, *args: Any, **kwargs: Any) -> None:
        note, self._maker.note = self._maker.note, None
        if isinstance(item, tuple) and len(item) == 2:
            index, data = item
            failed = data[0] if isinstance(data, tuple) and data else data  # torchdata's, torch's
            if isinstance(failed, ExceptionWrapper):
                failed.exc_msg = frames.without_ours(failed.exc_msg)
            elif note is not None and type(index) is int:
                maker = self._maker
                item = Envelope(index, data, maker, note, maker.paths, maker.lines)
        self._queue.put(item, *args, **kwargs)
        self._inbox.resumed()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


def watched_fetch(original: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Torch's `fetch`, routed through the current thread's maker."""

    def fetch(self: Any, possibly_batched_index: Any) -> Any:
        maker = current.maker
        if maker is None:
            return original(self, possibly_batched_index)
        # A fetch inside this one is not this maker's: of a loader inside the dataset, or, where
        # the class was replaced twice, this very one again.
        current.maker = None
        try:
            return maker.fetch(original, self, possibly_batched_index)
        finally:
            current.maker = maker

    return fetch


def watched_loop(*args: Any) -> None:
    """Run torch's worker loop, watched. Takes and passes on exactly torch's arguments."""
    _run(_torch_worker_loop, args)


def watched_torchdata_loop(*args: Any) -> None:
    """The worker loop of torchdata's StatefulDataLoader, watched."""
    from torchdata.stateful_dataloader.worker import _worker_loop

    _run(_worker_loop, args)


def _run(loop: Callable[..., None], args: tuple[Any, ...]) -> None:
    """Run `loop` with its queues wrapped; unwatched if its signature is not the known one."""
    names = loop.__code__.co_varnames[: loop.__code__.co_argcount]
    try:
        given = dict(zip(names, args, strict=True))
        number = given["worker_id"]
        known = current.known
        looking = Looking(number, known=known)
        maker = Maker(number, opened_files, looking=looking, known=known)
        given["index_queue"] = inbox = _Inbox(given["index_queue"], maker)
        given["data_queue"] = _Outbox(given["data_queue"], maker, inbox)
        for kind in FETCHERS:
            kind.fetch = watched_fetch(kind.fetch)
        opened_files.hook()
        current.maker = maker
    except Exception:
        traceback.print_exc()
        loop(*args)
        return
    loop(**given)
