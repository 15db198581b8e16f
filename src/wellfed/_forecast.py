"""What a loader may take of this machine, read before its workers start."""

import functools
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from wellfed._insight.memory import USABLE_SHARE
from wellfed._insight.starting import fitting
from wellfed._limits import Limits, Room
from wellfed._probes.cpus import local_ranks
from wellfed._probes.memory import shm_free_bytes
from wellfed._probes.strain import private_bytes, room_reader
from wellfed.records import Plan

__all__ = ["read_limits", "within"]

# Where nothing can be read at all nothing is limited, but by the sums that are done with it.
UNKNOWN = Room(2.0**60, 2.0**60)


def read_limits(
    plan: Plan, memory_limit: int | None, say: Callable[[str, str], None], **changed: Any
) -> Limits:
    """The limits of a loader's next iterator.

    Args:
        plan: how its workers would start.
        memory_limit: bytes that it may take; None: its share of what the machine leaves.
        say: told of what was changed to keep within them.
        changed: fields that are known better.
    """
    room, ranks = room_reader(), local_ranks()
    left = room() or UNKNOWN
    memory_bytes = memory_limit or max(1, int(USABLE_SHARE * left.left_bytes / ranks))
    memory_bytes = min(memory_bytes, _slabs_place_bytes(ranks))
    found = fitting(plan, memory_bytes, _files_left())
    return Limits(
        **{
            "memory_bytes": memory_bytes,
            "given": memory_limit is not None,
            # What was only derived does not say that nothing at all may run.
            "most_workers": max(found.workers, 0 if memory_limit is not None else 1),
            "binding": found.binding,
            "ranks": ranks,
            "worker_bytes": found.worker_bytes,
            "room": room,
            "private_bytes": private_bytes,
            "say": say,
            **changed,
        }
    )


def within(plan: Plan, limits: Limits) -> Plan:
    """The plan, with no more worker processes than fit: fewer serve the same logical workers."""
    most = limits.most_workers
    if not 0 < most < plan.workers:
        return plan
    limits.say("less", f"{most} worker processes instead of {plan.workers}: {limits.binding}")
    return replace(plan, workers=most)


@functools.cache
def _anonymous_memory() -> bool:
    """Whether slabs are in memory of their own, and not in /dev/shm."""
    make = getattr(os, "memfd_create", None)
    try:
        os.close(make("wellfed", os.MFD_CLOEXEC) if make is not None else -1)
    except OSError:
        return False
    return True


def _slabs_place_bytes(ranks: int) -> int:
    """What fits where slabs are made."""
    free = None if _anonymous_memory() else shm_free_bytes(Path("/")).value
    return 2**60 if free is None else int(USABLE_SHARE * free / ranks)


def _files_left() -> float | None:
    """Files that this process may still open, by its soft limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    try:
        # Since Linux 6.2 the directory's size is the number of open files.
        opened = os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
    except OSError:
        return None
    return max(0.0, float(soft - opened))
