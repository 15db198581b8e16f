"""What `wellfed top` has to show: status files and what each trainer takes of the machine."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from wellfed._probes.memory import limit_bytes, meminfo_bytes
from wellfed._probes.onlooker import Footprint, Onlooker
from wellfed._report.panel import Seen
from wellfed._status import folders, lives, read_all, sweep
from wellfed.records import TrainerStatus

__all__ = ["Gathering"]


class Gathering:
    """Looks again and again; a trainer that ends meanwhile stays in sight, as ended."""

    def __init__(
        self,
        pid: int | None = None,
        *,
        read: Callable[[], Sequence[TrainerStatus]] = read_all,
        alive: Callable[[int, int], bool] = lives,
    ) -> None:
        """Nothing was looked at yet.

        Args:
            pid: the one trainer to look at; None for all.
            read: gives the statuses there are.
            alive: whether the process that started then still runs under that pid.
        """
        self._pid = pid
        self._read = read
        self._alive = alive
        self._onlookers: dict[tuple[int, int], Onlooker] = {}
        self._known: dict[tuple[int, int], Seen] = {}
        self._machine_bytes = _machine_bytes()

    def look(self) -> tuple[Seen, ...]:
        """Those that run first, then those that have ended; by pid."""
        found: dict[tuple[int, int], list[TrainerStatus]] = {}
        for one in self._read():
            if self._pid is None or one.pid == self._pid:
                found.setdefault((one.pid, one.start_ticks), []).append(one)
        for key, loaders in found.items():
            self._known[key] = self._seen(key, loaders)
        for key, seen in self._known.items():
            if not self._alive(*key):
                self._known[key] = replace(seen, lives=False, busy_cores=None, memory_bytes=None)
            elif key not in found:  # between two loaders
                self._known[key] = self._seen(key, list(seen.loaders))
        return tuple(sorted(self._known.values(), key=lambda one: (not one.lives, one.first.pid)))

    def clean(self) -> None:
        """Remove the files of those that have ended."""
        for folder in folders():
            sweep(folder)

    def _seen(self, key: tuple[int, int], loaders: list[TrainerStatus]) -> Seen:
        loaders.sort(key=lambda one: -one.loader.at_unix_s)
        if key not in self._onlookers:
            self._onlookers[key] = Onlooker(key[0], os.getpid())
        took = self._onlookers[key].look() if self._alive(*key) else Footprint()
        return Seen(
            loaders=tuple(loaders),
            busy_cores=took.busy_cores,
            memory_bytes=took.memory_bytes,
            memory_limit_bytes=loaders[0].loader.memory_limit_bytes or self._machine_bytes,
        )


def _machine_bytes() -> int | None:
    """What all of this container or machine may have."""
    root = Path("/")
    limit, total = limit_bytes(root).value, meminfo_bytes(root, "MemTotal").value
    known = [one for one in (limit, total) if one]
    return min(known, default=None)
