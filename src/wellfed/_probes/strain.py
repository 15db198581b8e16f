"""What the machine leaves of its memory, read over and over while training runs.

Where to look is found once; a reading then opens four small files or so (60 µs).
"""

from collections.abc import Callable
from pathlib import Path

from wellfed._limits import Room
from wellfed._probes import cgroups
from wellfed._probes.files import Unreadable, read_number, read_text, understanding
from wellfed._probes.memory import MEMINFO

__all__ = ["private_bytes", "room_reader"]

PRESSURE = "/proc/pressure/memory"


def room_reader(root: Path = Path("/")) -> Callable[[], Room | None]:
    """A function that reads what is left now; it never raises, and says None where nothing can."""
    try:
        group = cgroups.find_group(root, "memory")
    except Unreadable:
        group = cgroups.Group(2, ())
    read = _Group2(root, group) if group.version == 2 else _Group1(root, group)
    return read.room


def private_bytes(pid: int, root: Path = Path("/")) -> float | None:
    """Memory that only this process has, shared memory left out; None if it is gone.

    The kernel walks the page tables of the process for it: not to be asked of the trainer, nor
    often of anyone.
    """
    path = f"/proc/{pid}/smaps_rollup"
    try:
        text = read_text(root, path)
    except Unreadable:
        return None
    bytes_of = {
        words[0]: float(words[1]) * 1024
        for line in text.splitlines()[1:]
        if len(words := line.split()) > 1 and words[1].isdigit()
    }
    private = bytes_of.get("Private_Clean:", 0.0) + bytes_of.get("Private_Dirty:", 0.0)
    # Of shared memory, what the trainer has not touched yet counts as the worker's alone. With two
    # who have the rest, that is what its resident size leaves of twice its proportional one.
    shared = (_named(root, f"/proc/{pid}/status", "RssShmem:") or 0.0) * 1024
    alone = 2 * bytes_of.get("Pss_Shmem:", 0.0) - shared
    return private - min(private, max(0.0, alone))


class _Groups:
    """A process's groups, from its own up to the mount."""

    usage = ""
    """Name of the file that has what is charged."""
    limits: tuple[str, ...] = ()
    """Names of the files that set a limit."""
    cache = ""
    """The line of memory.stat that has what the kernel gives up for the asking."""

    def __init__(self, root: Path, group: cgroups.Group) -> None:
        self._root = root
        self._directories = group.directories

    def room(self) -> Room | None:
        """What is left now, of the group or ancestor that leaves least, and of the machine."""
        left = [one for directory in self._directories if (one := self._left(directory))]
        machine = self._machine()
        left += [machine] if machine is not None else []
        if not left:
            return None
        least, total = min(left)
        return Room(least, total, self._stalled_s(), self._kills())

    def _left(self, directory: str) -> tuple[float, float] | None:
        limits = [
            limit
            for name in self.limits
            if (limit := _number(self._root, f"{directory}/{name}")) is not None
        ]
        limit = min(limits, default=None)
        used = _number(self._root, f"{directory}/{self.usage}") if limit is not None else None
        if limit is None or used is None:
            return None
        cache = _named(self._root, f"{directory}/memory.stat", self.cache) or 0
        return max(0.0, limit - used + cache), limit

    def _machine(self) -> tuple[float, float] | None:
        available = _named(self._root, MEMINFO, "MemAvailable:")
        total = _named(self._root, MEMINFO, "MemTotal:")
        if available is None or total is None:
            return None
        return available * 1024, total * 1024

    def _stalled_s(self) -> float:
        """Of the own group where it is known, or else of the machine."""
        own = [f"{directory}/memory.pressure" for directory in self._directories[:1]]
        for path in [*own, PRESSURE]:
            try:
                text = read_text(self._root, path)
                with understanding(path):
                    some = next(line for line in text.splitlines() if line.startswith("some"))
                    return int(some.rpartition("total=")[2]) / 1e6
            except (Unreadable, StopIteration):
                continue
        return 0.0

    def _kills(self) -> int:
        file = "memory.events" if self.usage == "memory.current" else "memory.oom_control"
        for directory in self._directories[:1]:
            return int(_named(self._root, f"{directory}/{file}", "oom_kill") or 0)
        return 0


class _Group1(_Groups):
    usage = "memory.usage_in_bytes"
    limits = ("memory.limit_in_bytes",)
    cache = "total_inactive_file"


class _Group2(_Groups):
    usage = "memory.current"
    limits = ("memory.max", "memory.high")
    cache = "inactive_file"


def _number(root: Path, path: str) -> float | None:
    """A limit or an amount; None where there is none, or it cannot be read."""
    try:
        value = read_number(root, path)
    except Unreadable:  # "max" among others
        return None
    return float(value) if value < cgroups.V1_NO_LIMIT_BYTES else None


def _named(root: Path, path: str, name: str) -> float | None:
    """The number in the line that begins with this name."""
    try:
        text = read_text(root, path)
    except Unreadable:
        return None
    for line in text.splitlines():
        words = line.split(None, 2)
        if len(words) > 1 and words[0] == name:
            return float(words[1]) if words[1].isdigit() else None
    return None
