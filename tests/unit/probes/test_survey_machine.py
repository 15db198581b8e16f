import os
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planting import STAT, mountinfo, plant

from wellfed._probes import survey_machine
from wellfed._probes.cpus import cpus_affinity, cpus_host, cpus_slurm, cpus_usable
from wellfed._probes.efficiency import parallel_efficiency
from wellfed._probes.memory import meminfo_bytes, used_bytes
from wellfed._probes.processes import threads_intra_op, torch_version
from wellfed.records import Fact


def test_this_machine_can_be_surveyed() -> None:
    machine = survey_machine(measure_cores=False)

    assert machine.cpus_usable.value is not None
    assert 0 < machine.cpus_usable.value <= (os.cpu_count() or 1)
    assert (machine.memory_total_bytes.value or 0) > 0
    assert not any("cpus" in line or "memory" in line for line in machine.unread())


def test_an_empty_tree_gives_reasons_and_no_error(tmp_path: Path) -> None:
    machine = survey_machine(root=tmp_path, measure_cores=False)

    assert (
        machine.memory_available_bytes.how
    ) == "cannot read /proc/meminfo: No such file or directory"
    assert machine.cpus_host.value is None
    assert machine.shm_free_bytes.how == "cannot stat /dev/shm: No such file or directory"


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(garbage=st.binary(max_size=80))
def test_garbage_everywhere_gives_reasons_and_no_error(tmp_path: Path, garbage: bytes) -> None:
    plant(tmp_path, {"/proc/self/mountinfo": mountinfo(("/", "/cg", "cgroup2", "rw"))})
    plant(tmp_path, {"/proc/self/cgroup": "0::/\n", "/sys/devices/system/cpu/online": ""})
    plant(tmp_path, {f"/cg/{name}": "" for name in ("cpu.max", "memory.max", "memory.current")})
    plant(tmp_path, {"/cg/cpuset.cpus.effective": "", "/proc/meminfo": ""})
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        if "self" not in path.parts:
            path.write_bytes(garbage)

    machine = survey_machine(root=tmp_path, measure_cores=False)

    assert all(machine.unread())


def test_the_limiting_one_is_named() -> None:
    def usable(quota: float | None, slurm: int | None) -> Fact[float]:
        host, mask = Fact(value=96, how="h"), Fact(value=16, how="m")
        return cpus_usable(host, mask, Fact(value=quota, how="q"), Fact(value=slurm, how="s"))

    assert Fact(value=16.0, how="the affinity mask limits (m)") == usable(None, None)
    assert Fact(value=1.5, how="the cgroup's CPU quota limits (q)") == usable(1.5, 4)
    assert Fact(value=4.0, how="Slurm limits (s)") == usable(None, 4)


def test_usable_cpus_that_nothing_tells_have_reasons() -> None:
    no: Fact[int] = Fact(how="no")
    none: Fact[float] = Fact(how="none: no")

    assert cpus_usable(no, no, none, no).how == "cannot be told: no; no"


def test_cpus_of_the_host_are_counted_in_stat_where_sys_is_missing(tmp_path: Path) -> None:
    plant(tmp_path, {"/proc/stat": STAT.format(busy=1, steal=0)})

    assert Fact(value=2, how="/proc/stat") == cpus_host(tmp_path)


def test_a_cpuset_smaller_than_the_mask_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    plant(
        tmp_path,
        {
            "/proc/self/cgroup": "0::/\n",
            "/proc/self/mountinfo": mountinfo(("/", "/cg", "cgroup2", "rw")),
            "/cg/cpuset.cpus.effective": "0-2,5\n",
        },
    )

    assert Fact(value=4, how="/cg/cpuset.cpus.effective") == cpus_affinity(tmp_path)


@pytest.mark.parametrize(
    ("variables", "cpus"),
    [
        ({"CPUS_PER_TASK": "6", "JOB_CPUS_PER_NODE": "48"}, 6),
        ({"JOB_CPUS_PER_NODE": "48", "TASKS_PER_NODE": "4"}, 12),
        ({"JOB_CPUS_PER_NODE": "16(x2),8", "TASKS_PER_NODE": "4(x3)", "NODEID": "2"}, 2),
        ({"JOB_CPUS_PER_NODE": "16", "TASKS_PER_NODE": "1", "STEP_TASKS_PER_NODE": "8"}, 2),
        ({"JOB_CPUS_PER_NODE": "2", "TASKS_PER_NODE": "8"}, 1),
    ],
)
def test_slurm_grants_are_divided_by_the_tasks(variables: dict[str, str], cpus: int) -> None:
    environment = {f"SLURM_{name}": value for name, value in variables.items()}

    assert cpus == cpus_slurm({"SLURM_JOB_ID": "1", **environment}).value


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"SLURM_CPUS_PER_TASK": "many"},
        {"SLURM_CPUS_PER_TASK": "0"},
        {"SLURM_JOB_CPUS_PER_NODE": "16", "SLURM_TASKS_PER_NODE": "0"},
        {"SLURM_JOB_CPUS_PER_NODE": "16,8", "SLURM_TASKS_PER_NODE": "2"},
        {"SLURM_JOB_CPUS_PER_NODE": "8", "SLURM_TASKS_PER_NODE": "2", "SLURM_NODEID": "9"},
    ],
)
def test_slurm_is_not_guessed_at(variables: dict[str, str]) -> None:
    fact = cpus_slurm({"SLURM_JOB_ID": "1", **variables})

    assert fact.value is None
    assert not fact.how.startswith("none:")


def test_outside_slurm_there_is_none() -> None:
    assert Fact(how="none: not a Slurm job") == cpus_slurm({"SLURM_CPUS_PER_TASK": "4"})


def test_memory_used_is_read_where_the_limit_is(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "/proc/self/cgroup": "4:memory:/a/b\n",
            "/proc/self/mountinfo": mountinfo(("/", "/cg", "cgroup", "rw,memory")),
            "/cg/a/b/memory.limit_in_bytes": "9223372036854771712\n",
            "/cg/a/memory.limit_in_bytes": "4096\n",
            "/cg/a/memory.usage_in_bytes": "1024\n",
        },
    )

    assert Fact(value=1024, how="/cg/a/memory.usage_in_bytes") == used_bytes(tmp_path)


def test_meminfo_is_in_bytes(tmp_path: Path) -> None:
    plant(tmp_path, {"/proc/meminfo": "MemTotal:  2 kB\nMemAvailable:\n"})

    assert meminfo_bytes(tmp_path, "MemTotal").value == 2048
    assert meminfo_bytes(tmp_path, "MemAvailable").how.startswith("cannot make sense of")
    assert meminfo_bytes(tmp_path, "SwapFree").how == "/proc/meminfo has no SwapFree"


def test_torch_is_only_looked_at_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)

    assert threads_intra_op().how == "torch is not loaded"
    assert (torch_version().value or "").startswith("2.")
    assert "torch" not in sys.modules

    loaded = SimpleNamespace(__version__="9.9", get_num_threads=lambda: 3)
    monkeypatch.setitem(sys.modules, "torch", loaded)

    assert (torch_version().value, threads_intra_op().value) == ("9.9", 3)


def test_efficiency_is_measured_and_leaves_no_child() -> None:
    before = psutil.Process().children()

    fact = parallel_efficiency(Fact(value=1.5, how="planted"))

    assert fact.value is not None, fact.how
    assert 0 < fact.value <= 1
    assert psutil.Process().children() == before


def test_efficiency_is_measured_by_one_rank_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    fact = parallel_efficiency(Fact(value=2.0, how="planted"))

    assert fact == Fact(how="none: measured by local rank 0 only")


def test_efficiency_says_why_it_could_not_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    fact = parallel_efficiency(Fact(value=2.0, how="planted"))

    assert "/nowhere/python" in fact.how
    assert parallel_efficiency(Fact(how="none")).value is None
