"""Whether the machine was quiet: what its cores did that was not for the run.

A run beside which other programs work is measured again, whatever came out of it: neither its
verdict nor the oracle's is about the run alone.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Clocks", "cores_of_others", "is_disturbed", "now"]

TICKS_PER_S = os.sysconf("SC_CLK_TCK")

DISTURBED = 0.10
"""Other programs that keep this share of the cores busy disturb a run."""


@dataclass(frozen=True)
class Clocks:
    """Seconds at one moment."""

    wall_s: float
    machine_s: float
    """CPU time of all cores, idle time left out."""
    own_s: float
    """CPU time of this process and of all descendants that have ended."""


def now() -> Clocks:
    times = os.times()
    own_s = times.user + times.system + times.children_user + times.children_system
    return Clocks(time.monotonic(), busy_s(Path("/proc/stat").read_text()), own_s)


def busy_s(stat: str) -> float:
    """CPU seconds that the text of /proc/stat counts as not idle."""
    ticks = [int(word) for word in stat.partition("\n")[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = ticks
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_S


def cores_of_others(before: Clocks, after: Clocks) -> float:
    """Cores that were kept busy, on average, by what is no descendant of this process.

    Descendants count once they have ended: take both clocks with none of them running.
    """
    spent_s = after.machine_s - before.machine_s - (after.own_s - before.own_s)
    return max(0.0, spent_s / (after.wall_s - before.wall_s))


def is_disturbed(cores_of_others: float, cores: int) -> bool:
    """Whether that is too much to judge a run by."""
    return cores_of_others > DISTURBED * cores
