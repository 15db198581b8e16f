"""What else differs between two runs: the machine, the software, the data, the verdict."""

from wellfed._report.figures import Change
from wellfed._report.machine import say
from wellfed._report.titles import title
from wellfed.records import Machine, Report

__all__ = ["caveats", "surroundings"]

# Facts that two runs of the same job share. What fluctuates by itself (free memory, the worth of a
# core) is no difference.
LASTING = (
    "platform",
    "python_version",
    "torch_version",
    "cpus_usable",
    "cpus_host",
    "cpus_affinity",
    "cpus_quota",
    "cpus_slurm",
    "threads_intra_op",
    "memory_total_bytes",
    "memory_limit_bytes",
    "swap_total_bytes",
    "shm_total_bytes",
    "fd_limit",
    "start_method",
)


def surroundings(before: Report, after: Report) -> tuple[Change, ...]:
    """Facts that differ, and the verdicts where they do."""
    changes = [
        _fact(name, before.machine, after.machine)
        for name in LASTING
        if getattr(before.machine, name).value != getattr(after.machine, name).value
    ]
    gpus = [_gpus(one.machine) for one in (before, after)]
    if gpus[0] != gpus[1]:
        changes.append(Change(label="GPUs", before=gpus[0], after=gpus[1]))
    if before.wellfed_version != after.wellfed_version:
        was, now = before.wellfed_version, after.wellfed_version
        changes.append(Change(label="wellfed", before=was, after=now))
    if before.verdict.name != after.verdict.name:
        was, now = title(before.verdict.name), title(after.verdict.name)
        changes.append(Change(label="verdict", before=was, after=now))
    return tuple(changes)


def caveats(before: Report, after: Report) -> tuple[str, ...]:
    """Why the two may not be comparable, one sentence each."""
    was, now = before.workload, after.workload
    told = []
    if was.dataset != now.dataset:
        told.append(f"The datasets differ: {was.dataset}, then {now.dataset}.")
    if was.length != now.length:
        told.append(f"The dataset's length differs: {was.length}, then {now.length} samples.")
    if was.batch_size != now.batch_size:
        sizes = f"{was.batch_size}, then {now.batch_size}"
        told.append(f"The batch size differs: {sizes}; speeds are compared by samples.")
    for when, report in (("first", before), ("second", after)):
        if report.verdict.name == "too_noisy":
            told.append(f"The {when} run was too noisy to judge: {report.verdict.abstains}")
    return tuple(told)


def _fact(name: str, was: Machine, now: Machine) -> Change:
    label, before = say(name, getattr(was, name))
    _, after = say(name, getattr(now, name))
    return Change(label=label, before=before, after=after)


def _gpus(machine: Machine) -> str:
    return ", ".join(gpu.name for gpu in machine.gpus.value or ()) or "none"
