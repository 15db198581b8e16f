"""Surveys the machine: what this process may really use, and how each of it is known."""

import os
from pathlib import Path

from wellfed._probes import cpus, devices, efficiency, memory, processes
from wellfed.records import Fact, Machine

__all__ = ["survey_machine"]


def survey_machine(*, root: Path = Path("/"), measure_cores: bool = True) -> Machine:
    """All facts about the machine. Never raises: what cannot be read says why.

    Args:
        root: where /proc, /sys and /dev are looked for.
        measure_cores: whether to spend about 0.5 s on measuring `parallel_efficiency`. It runs
            child processes that are waited for; a thread of the script that waits for any child
            could see one of them end.
    """
    host = cpus.cpus_host(root)
    affinity = cpus.cpus_affinity(root)
    quota = cpus.cpus_quota(root)
    slurm = cpus.cpus_slurm(os.environ)
    usable = cpus.cpus_usable(host, affinity, quota, slurm)
    return Machine(
        platform=processes.platform_name(),
        python_version=processes.python_version(),
        torch_version=processes.torch_version(),
        cpus_host=host,
        cpus_affinity=affinity,
        cpus_quota=quota,
        cpus_slurm=slurm,
        cpus_usable=usable,
        parallel_efficiency=(
            efficiency.parallel_efficiency(usable)
            if measure_cores
            else Fact(how="none: measuring it was not asked for")
        ),
        threads_intra_op=processes.threads_intra_op(),
        memory_total_bytes=memory.meminfo_bytes(root, "MemTotal"),
        memory_available_bytes=memory.meminfo_bytes(root, "MemAvailable"),
        memory_limit_bytes=memory.limit_bytes(root),
        memory_used_bytes=memory.used_bytes(root),
        swap_total_bytes=memory.meminfo_bytes(root, "SwapTotal"),
        swap_free_bytes=memory.meminfo_bytes(root, "SwapFree"),
        shm_total_bytes=memory.shm_total_bytes(root),
        shm_free_bytes=memory.shm_free_bytes(root),
        fd_limit=processes.fd_limit(),
        start_method=processes.start_method(),
        gpus=devices.gpus(),
    )
