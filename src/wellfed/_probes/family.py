"""Follows one process and all its descendants, cheaply, through /proc.

Part of the sampler's process: imports the standard library only.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from wellfed._probes.counters import PAGE_BYTES, TICKS_PER_S
from wellfed._probes.files import Missing, Unreadable, locate, read_text, understanding
from wellfed._probes.readings import Level, Rate, Reading

__all__ = ["Family", "lives", "read_start_ticks"]


class _Stat(NamedTuple):
    state: str
    parent: int
    cpu_s: float
    """Of the process and of those children that ended and were waited for."""
    start_ticks: int
    rss_bytes: int
    """What statm also says, without a second file to read for each process."""


def read_start_ticks(root: Path, pid: int) -> int:
    """When the process started, in ticks since boot: tells it from a later one of the same pid.

    Raises:
        Unreadable: there is no such process.
    """
    return _read_stat(root, pid).start_ticks


def lives(root: Path, pid: int, start_ticks: int) -> bool:
    """Whether `pid` still is the process that started then, and not only waits to be reaped."""
    try:
        stat = _read_stat(root, pid)
    except Unreadable:
        return False
    return stat.start_ticks == start_ticks and stat.state not in "ZX"


class Family:
    """The trainer and its descendants: workers, and whatever they start.

    Strangers are looked at once and then known by their pid, so that a tick costs one listing of
    /proc and one read per member, however many processes the machine runs. A descendant whose
    parents have all ended is lost from sight once it has been missed.
    """

    def __init__(self, root: Path, trainer: int, *, without: int) -> None:
        """Follow `trainer`; `without` is the sampler, which is no part of the workload."""
        self._root = root
        self._trainer = trainer
        self._workers: set[int] = set()
        self._strangers: set[int] = {without}
        self._found = False
        self._seen_s = 0.0
        self._own_s = 0.0

    def read(self) -> Iterator[Reading]:
        """CPU time of all, resident memory of the trainer and of the others, open files."""
        stats = self._find()
        # Where a process ends its time moves to the parent that waits for it. Time that vanishes
        # with an orphan must not count backwards.
        seen_s = sum(stat.cpu_s for stat in stats.values())
        self._own_s += max(0.0, seen_s - self._seen_s)
        self._seen_s = seen_s
        yield Rate("own_busy_cores", self._own_s)
        yield Level("trainer_rss_bytes", stats[self._trainer].rss_bytes)
        workers_rss_bytes = sum(stats[pid].rss_bytes for pid in self._workers)
        yield Level("workers_rss_bytes", workers_rss_bytes)
        yield Level("open_fds", self._open_fds())

    def read_pss(self) -> Iterator[Reading]:
        """Memory of the workers, each shared page divided by those who share it; and their own.

        Never asked of the trainer: the kernel walks its page tables with a lock held that its
        own page faults need.
        """
        if not self._found:
            raise Unreadable("cannot tell the workers, because the trainer was not seen in /proc")
        total_bytes = private_bytes = 0
        for pid in self._workers:
            path = f"/proc/{pid}/smaps_rollup"
            try:
                text = read_text(self._root, path)
            except Missing:  # it ended
                continue
            with understanding(path):
                sizes = {
                    line.split(":")[0]: int(line.split()[1]) * 1024
                    for line in text.splitlines()[1:]
                }
                total_bytes += sizes["Pss"]
                private_bytes += sizes.get("Private_Clean", 0) + sizes.get("Private_Dirty", 0)
        yield Level("workers_pss_bytes", total_bytes)
        yield Level("workers_private_bytes", private_bytes)

    def _find(self) -> dict[int, _Stat]:
        """Members by pid; also learns who joined and who left."""
        try:
            present = {
                int(name) for name in os.listdir(locate(self._root, "/proc")) if name.isdigit()
            }
        except OSError as error:
            raise Unreadable(f"cannot list /proc: {error.strerror}") from error
        self._strangers &= present
        stats: dict[int, _Stat] = {}
        for pid in present - self._strangers:
            try:
                stats[pid] = _read_stat(self._root, pid)
            except Unreadable:  # it ended since, or is hidden from us
                continue
        members = {self._trainer} & stats.keys()
        if not members:
            raise Unreadable(f"cannot read /proc/{self._trainer}/stat: the trainer has ended")
        # Parents need not have lower pids than their children, so go on until nobody joins.
        while joined := {
            pid for pid, stat in stats.items() if stat.parent in members and pid not in members
        }:
            members |= joined
        self._found = True
        self._workers = members - {self._trainer}
        self._strangers |= stats.keys() - members
        return {pid: stats[pid] for pid in members}

    def _open_fds(self) -> int:
        path = f"/proc/{self._trainer}/fd"
        try:
            # Since Linux 6.2 the directory's size is the number of open files.
            return os.stat(locate(self._root, path)).st_size or len(
                os.listdir(locate(self._root, path))
            )
        except OSError as error:
            raise Unreadable(f"cannot list {path}: {error.strerror}") from error


def _sum_bytes(lines: list[str], begins: tuple[str, ...]) -> int:
    """The lines of smaps_rollup that begin so, added up."""
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(begins))


def _read_stat(root: Path, pid: int) -> _Stat:
    path = f"/proc/{pid}/stat"
    text = read_text(root, path)
    with understanding(path):
        # The name stands in parentheses and may itself hold spaces and parentheses.
        fields = text[text.rindex(")") + 2 :].split()
        return _Stat(
            state=fields[0],
            parent=int(fields[1]),
            cpu_s=sum(int(field) for field in fields[11:15]) / TICKS_PER_S,
            start_ticks=int(fields[19]),
            rss_bytes=int(fields[21]) * PAGE_BYTES,
        )
