"""Who makes the batches of a loader: the first back end that does not refuse it, or torch's own.

loader, Asked ─► why torch's? ─► plan ─► back end ─► limits ─► EngineIterator
"""

import functools
import logging
import multiprocessing
from typing import Any, NamedTuple

import torch
from msgspec.structs import replace

from wellfed._engine.auto import Auto
from wellfed._engine.bookmark import Bookmark
from wellfed._engine.device import checked_device, destination
from wellfed._engine.inline import Inline
from wellfed._engine.iterator import EngineIterator
from wellfed._engine.processes import Processes
from wellfed._engine.reading import read_job, read_plan
from wellfed._engine.rows import rows_of
from wellfed._engine.stock import why_stock
from wellfed._engine.watch.recorder import Recorder
from wellfed._engine.watch.showing import Showing
from wellfed._forecast import read_limits, within
from wellfed._limits import Limits
from wellfed._live import Live
from wellfed._sizes import read_size
from wellfed._status import StatusFile
from wellfed.errors import UsageError
from wellfed.job import Job
from wellfed.records import Plan, Site
from wellfed.seams import Backend

__all__ = ["REPORTED", "Asked", "engine_iterator", "limit_bytes", "shown_recorder"]

log = logging.getLogger(__name__)

# Batches that a report is made of: 2 MB, and twenty seconds at 5 ms a step.
REPORTED = 4_096

BACKENDS: tuple[Backend, ...] = (Auto(), Inline(), Processes())
"""Who can make batches; the first that does not refuse a job makes it."""


class Asked(NamedTuple):
    """What a loader asks for beyond torch's arguments."""

    plan: Plan | None = None
    """How batches are made, by hand; None: as torch's arguments say."""
    device: str | torch.device | None = None
    """Where batches are wanted."""
    memory_limit: int | str | None = None
    """What worker processes and batches under way may take."""


NOTHING = Asked()


def shown_recorder(loader: Any, site: Site | None = None) -> Recorder:
    """What keeps the last batches of a loader on the engine, and shows it to `wellfed top`.

    Args:
        loader: one of torch's, or ours.
        site: the line that built it; None if that was not seen.
    """
    showing = Showing([StatusFile()])
    return Recorder(site, loader, read_plan(loader), most_spans=REPORTED, showing=showing)


def engine_iterator(
    loader: Any,
    recorder: Recorder | None = None,
    bookmark: Bookmark | None = None,
    live: Live | None = None,
    asked: Asked = NOTHING,
) -> EngineIterator | None:
    """An iterator of the engine over any of torch's loaders; None if torch's own must serve it.

    Args:
        loader: one of torch's, or ours.
        recorder: keeps what each batch took.
        bookmark: told how far the loader has come, and tells where to take it up.
        live: tunes it while it trains, from the plan that was found in earlier epochs.
        asked: what it asks for beyond torch's arguments.

    Raises:
        UsageError: the loader has a plan or a device that cannot serve it.
    """
    reason = why_stock(loader)
    if reason is None and asked.plan is not None and asked.plan.backend == "torch":
        reason = "The plan asks for torch's own iterator."
    if reason is not None:
        _refuse_device(asked.device, reason)
        _say_once(loader, reason)
        return None
    checked_device(asked.device)  # it may have been another machine's
    if loader.num_workers:
        loader.check_worker_number_rationality()
    job = read_job(loader)
    by_hand, refusals = asked.plan, []
    if live is not None and live.plan is not None and _serves(live.plan, job):
        by_hand = live.plan
    for backend in BACKENDS:
        plan = _plan_for(backend, loader, by_hand)
        if plan is None:
            continue
        refusal = backend.refuses(job, plan)
        if refusal is None:
            limits = _limits_of(backend, job, plan, asked.memory_limit, recorder)
            if limits is not None and by_hand is None and backend.name == "processes":
                plan = within(plan, limits)
            return EngineIterator(
                loader,
                backend,
                plan,
                recorder,
                copy_to=functools.partial(destination, asked.device, loader.pin_memory),
                bookmark=bookmark,
                look=None if live is None else live.look,
                limits=limits,
            )
        refusals.append(refusal)
    if by_hand is None:
        _refuse_device(asked.device, " ".join(refusals))
        return None
    raise UsageError(
        f"the plan cannot serve this loader: backend={by_hand.backend!r}, "
        f"workers={by_hand.workers}. {' '.join(refusals)} Leave plan=None, or change it."
    )


def _serves(plan: Plan, job: Job) -> bool:
    return any(one.name == plan.backend and not one.refuses(job, plan) for one in BACKENDS)


def _refuse_device(device: Any, reason: str) -> None:
    """Batches of torch's own iterator are not copied to a device."""
    if checked_device(device) is not None:
        raise UsageError(
            f"device={str(device)!r} needs the engine, and torch's own iterator must serve this "
            f"loader. {reason} Leave device=None and move batches yourself."
        )


def _plan_for(backend: Backend, loader: Any, asked: Plan | None) -> Plan | None:
    if asked is not None:
        return asked if asked.backend == backend.name else None
    found = replace(read_plan(loader), backend=backend.name)
    return replace(found, workers=0) if backend.name == "inline" else found


def _limits_of(
    backend: Backend, job: Job, plan: Plan, asked: int | str | None, recorder: Recorder | None
) -> Limits | None:
    """What may be taken; None where no process is started.

    Reading it takes 0.7 ms, which an epoch of rows in memory may take in all.
    """
    starts_workers = backend.name != "inline"
    if backend.name == "auto" or job.by_position:  # workers may take over
        starts_workers = rows_of(job) is None or job.worker_init is not None
    if not starts_workers:
        return None
    say = recorder.limited if recorder is not None else _log_only
    return read_limits(plan, limit_bytes(asked), say)


def limit_bytes(asked: Any) -> int | None:
    """The limit in bytes; None where none was given.

    Raises:
        UsageError: it is no size.
    """
    if asked is None:
        return None
    if isinstance(asked, str):
        return read_size(asked, 'memory_limit="8GiB"')
    if isinstance(asked, bool) or not isinstance(asked, int) or asked <= 0:
        raise UsageError(f'memory_limit={asked!r} is no size. Write bytes, or "8GiB".')
    return asked


def _log_only(direction: str, sentence: str) -> None:
    log.log(logging.WARNING if direction == "less" else logging.DEBUG, "%s", sentence)


def _say_once(loader: Any, reason: str) -> None:
    if not loader.__dict__.get("_said_stock"):
        loader.__dict__["_said_stock"] = reason
        where = "main process" if multiprocessing.parent_process() is None else "child process"
        log.info("torch's own iterator serves this loader (%s). %s", where, reason)
