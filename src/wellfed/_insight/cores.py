"""How fast processes run when they share cores: two effects, kept apart.

    speed      cores that are busy slow each other down (SMT siblings, memory bandwidth, clocks)
    shortage   more threads want to run than there are cores, so each waits for its turn

Speed shows as more CPU seconds for the same work, shortage as run-queue time: gamma and kappa
(docs/explanation/model.md, "Contention").
"""

import math
from dataclasses import dataclass

from wellfed.records import Machine

__all__ = ["Cores", "cores_of"]

# A container with a tenth of a core still makes progress; 0 would make every time infinite.
LEAST_CORES = 0.1


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores that trainer and workers share."""

    usable: float
    """CPU-seconds per second to be had; infinite where that is not known."""
    efficiency: float
    """Speed of each process when all usable cores are busy, against a lone one; 0 to 1."""

    def speed(self, busy: float) -> float:
        """Speed of one process, against a lone one, while `busy` cores are in use.

        A straight line from 1 at one busy core to `efficiency` at all usable ones:
        `1 - (1 - efficiency) * (busy - 1) / (usable - 1)`, level outside. Two cores have no
        inside worth a better curve, and on more the measured ends are all that is known.
        """
        if not 1 < self.usable < math.inf:
            return 1.0 if self.usable > 1 else self.efficiency
        crowd = min(1.0, max(0.0, (busy - 1) / (self.usable - 1)))
        return 1 - (1 - self.efficiency) * crowd

    def least_period_s(self, work_s: float) -> float:
        """Seconds that `work_s` lone CPU seconds take at the least: work is conserved.

        Usually `work / (usable * efficiency)`. Where efficiency is below about a half, the
        throughput `busy * speed(busy)`, a parabola, peaks before all cores are busy; that peak
        is then the limit.
        """
        if self.usable == math.inf:
            return 0.0
        busy = self.usable
        if self.usable > 1 and self.efficiency < 1:
            slope = (1 - self.efficiency) / (self.usable - 1)
            busy = min(busy, (1 + slope) / (2 * slope))
        return work_s / (busy * self.speed(busy))


def cores_of(machine: Machine, neighbour_busy_cores: float = 0.0, local_world: int = 1) -> Cores:
    """The cores of a machine that its neighbours leave.

    The machine's efficiency was measured beside those neighbours, so the share of the loss that
    their cores explain is given back: taken off twice it would count double.

    Args:
        machine: the facts; unread ones assume what limits least (no limit, whole cores).
        neighbour_busy_cores: mean cores that other processes kept busy.
        local_world: ranks of the run that share the machine evenly.
    """
    usable = (machine.cpus_usable.value or machine.cpus_host.value or math.inf) / local_world
    efficiency = min(1.0, machine.parallel_efficiency.value or 1.0)
    left = max(LEAST_CORES, usable - neighbour_busy_cores)
    return Cores(
        usable=left,
        efficiency=min(1.0, efficiency * usable / left) if usable < math.inf else 1.0,
    )
