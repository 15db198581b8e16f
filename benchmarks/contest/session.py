"""What all processes of one run use together: those of its session, whoever their parent is.

A run leads a session of its own, so that also a worker whose parent has gone is counted.
"""

import os
from pathlib import Path

__all__ = ["cpu_s", "members", "memory_bytes"]

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name, or None if the process has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None


def members(session: int) -> dict[int, list[str]]:
    """The live processes of a session, with their fields of stat."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    stats = {pid: fields for pid in pids if (fields := stat(pid))}
    # Counted after the name: 0 is the state, 3 the session.
    return {
        pid: fields
        for pid, fields in stats.items()
        if int(fields[3]) == session and fields[0] != "Z"
    }


def cpu_s(session: int) -> float:
    """CPU time of the live processes, and of those of theirs that they have waited for."""
    ticks = (sum(map(int, fields[11:15])) for fields in members(session).values())
    return sum(ticks) / TICKS_PER_S


def memory_bytes(session: int) -> int:
    """Proportional set size of all of them: shared memory counts once."""
    total = 0
    for pid in members(session):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    return total
