"""A control group that limits memory, cgroup v1 or v2, for a child process to live in."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple


class Group(NamedTuple):
    """A group below our own."""

    directory: Path
    version: int

    def limit(self, nbytes: int) -> None:
        """From here on no more than this."""
        file = "memory.max" if self.version == 2 else "memory.limit_in_bytes"
        (self.directory / file).write_text(str(nbytes))

    @property
    def used_bytes(self) -> int:
        file = "memory.current" if self.version == 2 else "memory.usage_in_bytes"
        return int((self.directory / file).read_text())

    @property
    def kills(self) -> int:
        file = "memory.events" if self.version == 2 else "memory.oom_control"
        lines = (self.directory / file).read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def join(self) -> None:
        """The calling process is in it from here on; for a child that is about to begin."""
        (self.directory / "cgroup.procs").write_text(str(os.getpid()))


@contextmanager
def memory_group(nbytes: int) -> Iterator[Group]:
    """A group of that many bytes, removed at the end."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if number != "0" and "memory" not in controllers.split(","):
            continue
        parent = Path("/sys/fs/cgroup", "" if number == "0" else "memory", path.lstrip("/"))
        group = Group(parent / f"wellfed-test-{os.getpid()}", 2 if number == "0" else 1)
        group.directory.mkdir()
        try:
            group.limit(nbytes)
            yield group
        finally:
            _remove(group.directory)
        return
    raise AssertionError("no memory controller here")


def _remove(directory: Path) -> None:
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        with suppress(OSError):  # whoever was in it is on the way out
            directory.rmdir()
            return
        time.sleep(0.01)
    directory.rmdir()
