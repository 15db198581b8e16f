"""How many CPUs this process may really use, and what says so."""

import os
import re
from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path

from wellfed._probes import cgroups
from wellfed._probes.files import Missing, Unreadable, read_text, understanding
from wellfed._probes.probe import probe
from wellfed.records import Fact

__all__ = [
    "cpus_affinity",
    "cpus_host",
    "cpus_quota",
    "cpus_slurm",
    "cpus_usable",
    "local_ranks",
    "usable_cpus",
]

ONLINE = "/sys/devices/system/cpu/online"

# Far more than any Slurm cluster has; keeps garbage like "1(x999999999)" from filling memory.
MAX_NODES = 100_000


@probe
def cpus_host(root: Path) -> Fact[int]:
    """Logical CPUs online on the host."""
    try:
        text = read_text(root, ONLINE)
        with understanding(ONLINE):
            return Fact(value=_count(text), how=ONLINE)
    except Missing:
        cores = re.findall(r"^cpu\d+ ", read_text(root, "/proc/stat"), re.MULTILINE)
        if not cores:
            raise Unreadable("cannot make sense of /proc/stat: it lists no CPU") from None
        return Fact(value=len(cores), how="/proc/stat")


@probe
def cpus_affinity(root: Path) -> Fact[int]:
    """CPUs in the affinity mask; or in the cpuset, should that have fewer."""
    mask = len(os.sched_getaffinity(0))
    try:
        text, path = cgroups.cpuset(root)
        with understanding(path):
            allowed = _count(text)
    except Unreadable:  # the mask says the same on every kernel that keeps its promises
        return Fact(value=mask, how="sched_getaffinity")
    if allowed < mask:
        return Fact(value=allowed, how=path)
    return Fact(value=mask, how="sched_getaffinity")


@probe
def cpus_quota(root: Path) -> Fact[float]:
    """CPU-seconds per second that the tightest cgroup quota allows."""
    limit = cgroups.cpu_quota(root)
    return Fact(value=limit.value, how=limit.path)


@probe
def cpus_slurm(environment: Mapping[str, str]) -> Fact[int]:
    """CPUs that Slurm granted to this task.

    `SLURM_CPUS_PER_TASK` says it outright, but is set only where the job asked for it. Without
    it, the node's CPUs are divided by its tasks; both lists have one entry a node, shortened
    like "16(x2),8".
    """
    if "SLURM_JOB_ID" not in environment:
        return Fact(how="none: not a Slurm job")
    if granted := environment.get("SLURM_CPUS_PER_TASK"):
        with understanding("SLURM_CPUS_PER_TASK"):
            return Fact(value=_positive(int(granted)), how="SLURM_CPUS_PER_TASK")
    # The step's own tasks where there is a step; outside `srun` only the job's are known.
    tasks_name = next(
        (n for n in ("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE") if n in environment), None
    )
    if tasks_name is None or "SLURM_JOB_CPUS_PER_NODE" not in environment:
        raise Unreadable("Slurm says neither SLURM_CPUS_PER_TASK nor CPUs and tasks per node")
    with understanding("SLURM_JOB_CPUS_PER_NODE"):
        cpus_per_node = _expand(environment["SLURM_JOB_CPUS_PER_NODE"])
        tasks_per_node = _expand(environment[tasks_name])
        node = int(environment.get("SLURM_NODEID", "0"))
        # A step may run on some of the job's nodes only; SLURM_NODEID then counts the step's.
        # Where the lists differ in length, only a job of equal nodes can be told for sure.
        if len(cpus_per_node) != len(tasks_per_node) and len(set(cpus_per_node)) > 1:
            raise ValueError(f"{len(tasks_per_node)} of {len(cpus_per_node)} unequal nodes in use")
        cpus = cpus_per_node[node]
        tasks = tasks_per_node[node]
    return Fact(value=max(1, cpus // tasks), how=f"SLURM_JOB_CPUS_PER_NODE / {tasks_name}")


def cpus_usable(
    host: Fact[int], affinity: Fact[int], quota: Fact[float], slurm: Fact[int]
) -> Fact[float]:
    """The smallest of the four that have a value; `how` names the one that limits."""
    # At equal values the first wins: "all CPUs of the host" is the plainest thing to say.
    limits = [
        (host.value, "all CPUs of the host", host.how),
        (affinity.value, "the affinity mask limits", affinity.how),
        (quota.value, "the cgroup's CPU quota limits", quota.how),
        (slurm.value, "Slurm limits", slurm.how),
    ]
    known = [(float(value), name, how) for value, name, how in limits if value is not None]
    if not known:
        return Fact(how=f"cannot be told: {host.how}; {affinity.how}")
    value, name, how = min(known, key=itemgetter(0))
    return Fact(value=value, how=f"{name} ({how})")


def usable_cpus() -> int:
    """Whole CPUs that this process may count on, its share among the ranks on this machine."""
    root = Path("/")
    fact = cpus_usable(
        cpus_host(root), cpus_affinity(root), cpus_quota(root), cpus_slurm(os.environ)
    )
    return max(1, int((fact.value or 1) // local_ranks()))


def local_ranks() -> int:
    """Ranks of the run on this machine, as its launcher says; 1 if none does."""
    told = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, int(told)) if told.isdecimal() else 1


def _count(cpu_list: str) -> int:
    """How many CPUs a kernel list like "0-3,8" names."""
    total = 0
    for part in cpu_list.strip().split(","):
        first, _, last = part.partition("-")
        total += int(last or first) - int(first) + 1
    return _positive(total)


def _expand(per_node: str) -> list[int]:
    """One number a node from Slurm's short form: "16(x2),8" is 16, 16, 8."""
    numbers: list[int] = []
    for part in per_node.split(","):
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip())
        if found is None:
            raise ValueError(f"{part!r} is not a number per node")
        numbers += [_positive(int(found[1]))] * min(int(found[2] or 1), MAX_NODES)
    return numbers


def _positive(value: int) -> int:
    if value < 1:
        raise ValueError(f"{value} CPUs or tasks cannot be")
    return value
