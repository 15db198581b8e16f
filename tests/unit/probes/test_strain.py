"""What the machine leaves, from the files of either cgroup version."""

from pathlib import Path

import pytest
from planting import mountinfo, plant

from wellfed._limits import Room
from wellfed._probes.cpus import local_ranks
from wellfed._probes.strain import private_bytes, room_reader

MEMINFO = "MemTotal:  8000 kB\nMemFree: 100 kB\nMemAvailable:  6000 kB\n"
V2 = {
    "/proc/meminfo": MEMINFO,
    "/proc/self/cgroup": "0::/jobs/mine\n",
    "/proc/self/mountinfo": mountinfo(("/", "/sys/fs/cgroup", "cgroup2", "rw")),
    "/sys/fs/cgroup/jobs/mine/memory.max": "max\n",
    "/sys/fs/cgroup/jobs/mine/memory.high": "2000000\n",
    "/sys/fs/cgroup/jobs/mine/memory.current": "1500000\n",
    "/sys/fs/cgroup/jobs/mine/memory.stat": "anon 7\ninactive_file 200000\n",
    "/sys/fs/cgroup/jobs/mine/memory.events": "low 0\nhigh 9\nmax 0\noom 1\noom_kill 3\n",
    "/sys/fs/cgroup/jobs/mine/memory.pressure": (
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n"
    ),
}
V1 = {
    "/proc/meminfo": MEMINFO,
    "/proc/self/cgroup": "4:memory:/mine\n0::/\n",
    "/proc/self/mountinfo": mountinfo(("/", "/sys/fs/cgroup/memory", "cgroup", "rw,memory")),
    "/proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=4000000\n",
    "/sys/fs/cgroup/memory/mine/memory.limit_in_bytes": "9223372036854771712\n",
    "/sys/fs/cgroup/memory/mine/memory.usage_in_bytes": "1\n",
    "/sys/fs/cgroup/memory/mine/memory.oom_control": "under_oom 0\noom_kill 2\n",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "4000000\n",
    "/sys/fs/cgroup/memory/memory.usage_in_bytes": "3000000\n",
    "/sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 500000\n",
}


@pytest.mark.parametrize(
    ("files", "room"),
    [
        (V2, Room(700_000, 2_000_000, 2.5, 3)),
        # The parent's limit; and pressure is the machine's, which v1 has no other of.
        (V1, Room(1_500_000, 4_000_000, 4.0, 2)),
        ({"/proc/meminfo": MEMINFO}, Room(6000 * 1024, 8000 * 1024)),
        ({}, None),
    ],
)
def test_the_group_or_the_machine_that_leaves_least_counts(
    tmp_path: Path, files: dict[str, str], room: Room | None
) -> None:
    plant(tmp_path, files)

    assert room_reader(tmp_path)() == room


def test_a_workers_own_memory_has_no_slabs_in_it(tmp_path: Path) -> None:
    rollup = (
        "00400000-7fff ---p 00000000 00:00 0 [rollup]\nRss: 900 kB\nPss: 700 kB\n"
        "Pss_Shmem: 350 kB\nPrivate_Clean: 10 kB\nPrivate_Dirty: 490 kB\n"
    )
    # 300 kB of slabs are mapped here alone, as the trainer has not read them yet; 100 kB twice.
    plant(
        tmp_path,
        {"/proc/7/smaps_rollup": rollup, "/proc/7/status": "Name: x\nRssShmem:  400 kB\n"},
    )

    assert private_bytes(7, tmp_path) == 200 * 1024
    assert private_bytes(8, tmp_path) is None


@pytest.mark.parametrize(("told", "ranks"), [(None, 1), ("4", 4), ("many", 1), ("0", 1)])
def test_ranks_are_what_the_launcher_says(
    monkeypatch: pytest.MonkeyPatch, told: str | None, ranks: int
) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if told is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", told)

    assert local_ranks() == ranks
