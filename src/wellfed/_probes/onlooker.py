"""What a trainer and its workers take of the machine, as another process sees it."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from wellfed._probes.family import Family
from wellfed._probes.files import Unreadable
from wellfed._probes.readings import Level, Rate, Reading

__all__ = ["Footprint", "Onlooker"]

# The memory of workers is asked for less often: the kernel walks their page tables for it.
MEMORY_S = 2.0


class Footprint(NamedTuple):
    """What they take just now."""

    busy_cores: float | None = None
    """CPU seconds per second since the last look; None at the first."""
    memory_bytes: int | None = None
    """What the trainer holds, and what its workers hold for themselves alone."""


class Onlooker:
    """Looks at one trainer now and again."""

    def __init__(
        self,
        pid: int,
        viewer: int,
        *,
        root: Path = Path("/"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to look at process `pid` from process `viewer`, which is not counted."""
        self._family = Family(root, pid, without=viewer)
        self._clock = clock
        self._cpu_s: float | None = None
        self._at_s = 0.0
        self._memory_at_s = float("-inf")
        self._workers_bytes = 0

    def look(self) -> Footprint:
        """What they take; nothing is known of a trainer that has ended."""
        now_s = self._clock()
        try:
            seen = _by_name(self._family.read())
            if now_s - self._memory_at_s >= MEMORY_S:
                self._memory_at_s = now_s
                private = _by_name(self._family.read_pss())
                self._workers_bytes = int(private["workers_private_bytes"])
        except Unreadable:
            return Footprint()
        cpu_s, before_s, since_s = seen["own_busy_cores"], self._cpu_s, now_s - self._at_s
        self._cpu_s, self._at_s = cpu_s, now_s
        return Footprint(
            busy_cores=(cpu_s - before_s) / since_s if before_s is not None and since_s else None,
            memory_bytes=int(seen["trainer_rss_bytes"]) + self._workers_bytes,
        )


def _by_name(readings: Iterable[Reading]) -> dict[str, float]:
    named: dict[str, float] = {}
    for one in readings:
        if isinstance(one, Level):
            named[one.name] = one.value
        elif isinstance(one, Rate):
            named[one.name] = one.total
    return named
