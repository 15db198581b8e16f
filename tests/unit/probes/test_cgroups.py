import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planting import mountinfo, plant

from wellfed._probes.cgroups import cpu_quota, cpuset, find_group, memory_limit
from wellfed._probes.files import Unreadable

V2_MOUNT = mountinfo(("/", "/sys/fs/cgroup", "cgroup2", "rw"))
CPU_V1_MOUNT = mountinfo(("/", "/sys/fs/cgroup/cpu", "cgroup", "rw,cpu,cpuacct"))


def test_v2_takes_the_tightest_quota_on_the_way_up(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "/proc/self/cgroup": "0::/jobs/mine\n",
            "/proc/self/mountinfo": V2_MOUNT,
            "/sys/fs/cgroup/jobs/mine/cpu.max": "400000 100000\n",
            "/sys/fs/cgroup/jobs/cpu.max": "150000 100000\n",
        },
    )

    quota = cpu_quota(tmp_path)

    assert (quota.value, quota.path) == (1.5, "/sys/fs/cgroup/jobs/cpu.max")


def test_v1_takes_the_tightest_quota_on_the_way_up(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "/proc/self/cgroup": "3:cpu,cpuacct:/a/b\n0::/\n",
            "/proc/self/mountinfo": CPU_V1_MOUNT,
            "/sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us": "200000\n",
            "/sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us": "100000\n",
            "/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "-1\n",
        },
    )

    quota = cpu_quota(tmp_path)

    assert (quota.value, quota.directory, quota.version) == (2.0, "/sys/fs/cgroup/cpu/a/b", 1)


def test_hybrid_asks_v2_for_a_controller_that_v1_does_not_have(tmp_path: Path) -> None:
    mounts = CPU_V1_MOUNT + mountinfo(("/", "/sys/fs/cgroup/unified", "cgroup2", "rw"))
    plant(
        tmp_path,
        {
            "/proc/self/cgroup": "1:cpu,cpuacct:/x\n0::/y\n",
            "/proc/self/mountinfo": mounts,
            "/sys/fs/cgroup/unified/y/memory.max": "1048576\n",
        },
    )

    limit = memory_limit(tmp_path)

    assert (limit.value, limit.path) == (1048576, "/sys/fs/cgroup/unified/y/memory.max")


def test_a_container_sees_its_own_part_of_the_tree(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "/proc/self/cgroup": "3:cpu,cpuacct:/docker/17/inner\n",
            "/proc/self/mountinfo": mountinfo(
                ("/docker/17", "/sys/fs/cgroup/cpu", "cgroup", "rw,cpu,cpuacct")
            ),
            "/sys/fs/cgroup/cpu/inner/tasks": "",
        },
    )

    group = find_group(tmp_path, "cpu")

    assert group.directories == ("/sys/fs/cgroup/cpu/inner", "/sys/fs/cgroup/cpu")


@pytest.mark.parametrize("path", ["/not/below/the/mount", "/../../elsewhere", "/docker/170"])
def test_a_path_told_from_another_namespace_falls_back_to_the_mount(
    tmp_path: Path, path: str
) -> None:
    plant(
        tmp_path,
        {
            "/proc/self/cgroup": f"0::{path}\n",
            "/proc/self/mountinfo": mountinfo(("/docker/17", "/sys/fs/cgroup", "cgroup2", "rw")),
            "/sys/fs/cgroup/cpu.max": "50000 100000\n",
        },
    )

    assert cpu_quota(tmp_path).value == 0.5


def test_no_limit_is_a_reason_that_begins_with_none(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "/proc/self/cgroup": "5:memory:/\n0::/\n",
            "/proc/self/mountinfo": V2_MOUNT
            + mountinfo(("/", "/sys/fs/cgroup/memory", "cgroup", "rw,memory")),
            "/sys/fs/cgroup/cpu.max": "max 100000\n",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )

    with pytest.raises(Unreadable, match=r"^none: .* CPU quota"):
        cpu_quota(tmp_path)
    with pytest.raises(Unreadable, match=r"^none: .* memory limit"):
        memory_limit(tmp_path)


def test_a_closed_file_is_not_taken_for_no_limit(tmp_path: Path) -> None:
    plant(tmp_path, {"/proc/self/cgroup": "0::/\n", "/proc/self/mountinfo": V2_MOUNT})
    (tmp_path / "sys/fs/cgroup/cpu.max").mkdir(parents=True)  # unreadable for root too

    with pytest.raises(Unreadable, match=r"cannot read /sys/fs/cgroup/cpu\.max: Is a directory"):
        cpu_quota(tmp_path)


def test_a_missing_cpuset_is_inherited_from_above(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "/proc/self/cgroup": "0::/a\n",
            "/proc/self/mountinfo": V2_MOUNT,
            "/sys/fs/cgroup/a/cgroup.procs": "",
            "/sys/fs/cgroup/cpuset.cpus.effective": "0-2\n",
        },
    )

    assert cpuset(tmp_path) == ("0-2", "/sys/fs/cgroup/cpuset.cpus.effective")


def test_without_proc_the_reason_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="cannot read /proc/self/cgroup: No such file"):
        cpu_quota(tmp_path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    membership=st.one_of(st.binary(max_size=40), st.just(b"0::/\n"), st.just(b"1:cpu:/\n")),
    mounts=st.one_of(st.binary(max_size=60), st.just((V2_MOUNT + CPU_V1_MOUNT).encode())),
    number=st.one_of(st.binary(max_size=30), st.integers().map(lambda n: f"{n} {n}".encode())),
)
def test_garbage_raises_nothing_but_unreadable(
    tmp_path: Path, membership: bytes, mounts: bytes, number: bytes
) -> None:
    for directory in ("proc/self", "sys/fs/cgroup/cpu"):
        os.makedirs(tmp_path / directory, exist_ok=True)
    (tmp_path / "proc/self/cgroup").write_bytes(membership)
    (tmp_path / "proc/self/mountinfo").write_bytes(mounts)
    for file in ("cpu.max", "memory.max", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"):
        (tmp_path / "sys/fs/cgroup" / file).write_bytes(number)

    for read in (cpu_quota, memory_limit):
        with suppress(Unreadable):
            assert read(tmp_path).value > 0
