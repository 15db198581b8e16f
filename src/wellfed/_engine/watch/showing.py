"""Says now and again, from within `__next__`, how a loader does: to a status file, to exporters.

Guarantees
- between two times a batch costs one comparison;
- nobody who is told can hurt training: one that raises is told no more, with one warning.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from wellfed._engine.watch.letters import Brief, opened
from wellfed._engine.watch.note import NOTE_FIELDS
from wellfed.records import LoaderStatus, WorkerStatus

if TYPE_CHECKING:
    from wellfed._engine.watch.recorder import Recorder

__all__ = ["NEVER", "Seldom", "Showing", "Told", "status_of"]

log = logging.getLogger(__name__)

Told = Callable[[LoaderStatus], None]

NEVER = 1 << 63
"""Later than any clock."""

# Four times a second looks live; each takes 0.2 ms (benchmarks/showing.py), which is 0.1 %.
PERIOD_NS = 250_000_000
SELDOM_S = 1.0
WINDOW_NS = 2_000_000_000
# Of the fastest loaders a window is shorter: these are looked at, and their makers' notes opened.
MOST = 256
MOST_OPENED = 64
MOST_WORKERS = 512

# Places in an Entry, which is kept as a plain tuple.
_EPOCH, _NUMBER, _ASKED, _GOT, _TOLD = 1, 2, 3, 4, 15
_BRIEF = tuple(NOTE_FIELDS.index(name) for name in Brief._fields)


class Showing:
    """Who is told of a loader, and when next."""

    def __init__(self, told: Iterable[Told], period_ns: int = PERIOD_NS) -> None:
        """Nobody was told yet.

        Args:
            told: called with each status, by the thread that iterates.
            period_ns: not more often than this.
        """
        self._told = list(told)
        self._period_ns = period_ns

    def __len__(self) -> int:
        return len(self._told)

    def after(self, now_ns: int) -> int:
        """When the next status is due."""
        return now_ns + self._period_ns if self._told else NEVER

    def show(self, recorder: "Recorder") -> None:
        """Tell all how its loader does."""
        try:
            status = status_of(recorder)
        except Exception:
            log.warning("wellfed: showing a loader failed and is now off", exc_info=True)
            self._told.clear()
            return
        for one in tuple(self._told):
            try:
                one(status)
            except Exception as error:
                self._told.remove(one)
                log.info("wellfed: a running loader is shown no more: %s", error)


class Seldom:
    """Hands on a status a second at most."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._last_unix_s = float("-inf")

    def __call__(self, status: LoaderStatus) -> None:
        if abs(status.at_unix_s - self._last_unix_s) >= SELDOM_S:  # the wall clock may be set back
            self._last_unix_s = status.at_unix_s
            self._told(status)


def status_of(recorder: "Recorder") -> LoaderStatus:
    """How a loader does; one batch of it was delivered at least."""
    entries, plan, workload = _window(recorder.entries), recorder.plan, recorder.loads
    first, last = entries[0], entries[-1]
    batches = len(entries) - 1
    window_ns = last[_GOT] - first[_GOT]
    wait_ns = sum(entry[_GOT] - entry[_ASKED] for entry in entries[1:])
    if not batches:
        batches, window_ns = 1, last[_GOT] - last[_ASKED]
        wait_ns = window_ns
    window_ns = max(1, window_ns)
    per_s = batches * 1e9 / window_ns
    made = _made(entries[-MOST_OPENED:])
    return LoaderStatus(
        site=str(recorder.site or ""),
        dataset=workload.dataset,
        backend=plan.backend,
        workers=plan.workers,
        depth=plan.depth,
        at_unix_s=time.time(),
        epoch=last[_EPOCH],
        number=last[_NUMBER],
        batches=recorder.batches,
        batches_per_epoch=recorder.whole_epoch,
        window_s=window_ns / 1e9,
        window_batches=batches,
        batches_per_s=per_s,
        samples_per_s=None if workload.batch_size is None else per_s * workload.batch_size,
        wait_share=min(1.0, wait_ns / window_ns),
        wait_s=wait_ns / batches / 1e9,
        step_s=(window_ns - wait_ns) / batches / 1e9,
        ready_share=_ready_share(made) if plan.workers else None,
        worker_status=_workers(made),
        memory_limit_bytes=recorder.memory_limit_bytes,
        decisions=tuple(recorder.decisions),
    )


def _window(entries: "deque[tuple[Any, ...]]") -> list[tuple[Any, ...]]:
    """The last entries: two seconds of them, two at least if there are two, and not too many."""
    taken: list[tuple[Any, ...]] = []
    since_ns = entries[-1][_GOT] - WINDOW_NS
    for entry in reversed(entries):
        if len(taken) >= MOST or (len(taken) > 1 and entry[_GOT] < since_ns):
            break
        taken.append(entry)
    return taken[::-1]


_Made = tuple[int, int, list[Brief]]
"""A batch: its number, when it was asked for, and what the maker of each part told."""


def _made(entries: Sequence[tuple[Any, ...]]) -> list[_Made]:
    made = []
    for entry in entries:
        notes = [opened(part).note for part in entry[_TOLD]]
        parts = [Brief._make(note[place] for place in _BRIEF) for note in notes]
        made.append((entry[_NUMBER], entry[_ASKED], [one for one in parts if one.fetch_ns >= 0]))
    return made


def _ready_share(made: Sequence[_Made]) -> float | None:
    """Share of the batches whose last part was finished before they were asked for."""
    heard = [(asked_ns, parts) for _, asked_ns, parts in made if parts]
    ready = sum(all(_finished_ns(one) <= asked_ns for one in parts) for asked_ns, parts in heard)
    return ready / len(heard) if heard else None


def _finished_ns(part: Brief) -> int:
    return part.taken_ns + part.fetch_ns + max(0, part.serialise_ns)


def _workers(made: Sequence[_Made]) -> tuple[WorkerStatus, ...]:
    by_worker: dict[int, list[tuple[int, Brief]]] = {}
    for number, _, parts in made:
        for part in parts:
            by_worker.setdefault(part.worker, []).append((number, part))
    return tuple(_worker(by_worker[worker]) for worker in sorted(by_worker)[:MOST_WORKERS])


def _worker(made: Sequence[tuple[int, Brief]]) -> WorkerStatus:
    parts = [part for _, part in made]
    fetch_ns = sum(part.fetch_ns for part in parts)
    known = all(part.cpu_ns >= 0 for part in parts) and fetch_ns > 0
    span_ns = max(_finished_ns(part) for part in parts) - min(part.taken_ns for part in parts)
    return WorkerStatus(
        worker=parts[0].worker,
        last=made[-1][0],
        fetch_s=fetch_ns / len(parts) / 1e9,
        cpu_share=min(1.0, sum(part.cpu_ns for part in parts) / fetch_ns) if known else None,
        busy_share=min(1.0, fetch_ns / span_ns) if span_ns > 0 else 0.0,
    )
