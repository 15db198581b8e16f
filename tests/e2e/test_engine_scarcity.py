"""Where there is nearly none of something: real mounts of 64 KB, real kills for want of memory."""

import json
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memory_group import memory_group

SCRIPT = Path(__file__).parent / "scripts" / "starved.py"
MB = 1_000_000
PATIENCE_S = 60.0

# What the script computes over its 50 batches.
CHECKSUM = 0
for first in range(0, 200, 4):
    rows = np.repeat(np.arange(first, first + 4, dtype=np.float32)[:, None], 50_000, axis=1)
    CHECKSUM = zlib.crc32(rows.tobytes(), CHECKSUM)


def ran(
    asked: dict[str, Any], before: Sequence[str] = (), join: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, sys.executable, "-W", "error", str(SCRIPT), json.dumps(asked)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        preexec_fn=join,
    )


def tiny(*folders: str) -> list[str]:
    """What runs a command where each of these folders is a file system of 64 KB."""
    mounts = " && ".join(f"mount -t tmpfs -o size=64k none {folder}" for folder in folders)
    return ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"]


# -- shared memory


@pytest.mark.mounts
def test_a_tiny_dev_shm_kills_torchs_workers_and_is_not_needed_by_ours() -> None:
    torchs = ran({"torch": True}, tiny("/dev/shm"))
    ours = ran({}, tiny("/dev/shm"))

    assert torchs.returncode != 0
    assert (ours.returncode, ours.stderr) == (0, "")
    assert json.loads(ours.stdout)["checksum"] == CHECKSUM


@pytest.mark.mounts
def test_without_anonymous_memory_a_tiny_dev_shm_sends_batches_through_the_temp_folder() -> None:
    ours = ran({"no_memfd": True}, tiny("/dev/shm"))

    assert (ours.returncode, ours.stderr) == (0, "")
    assert json.loads(ours.stdout)["checksum"] == CHECKSUM


@pytest.mark.mounts
def test_a_full_disk_beside_it_is_an_error_that_says_what_lacks(tmp_path: Path) -> None:
    before = ["env", f"TMPDIR={tmp_path}", *tiny("/dev/shm", str(tmp_path))]
    ours = ran({"no_memfd": True}, before)

    assert ours.returncode == 1
    assert "SharedMemoryFull: no room for" in ours.stderr
    assert "No space left on device" in ours.stderr
    assert "Bus error" not in ours.stderr


# -- open files


@pytest.mark.parametrize(("files", "workers"), [(64, 2), (128, 8)])
def test_few_descriptors_are_enough(files: int, workers: int) -> None:
    ours = ran({"files": files, "keep": True, "num_workers": workers})

    assert (ours.returncode, ours.stderr) == (0, "")
    told = json.loads(ours.stdout)
    assert (told["checksum"], told["workers"]) == (CHECKSUM, workers)


# -- memory


@pytest.mark.memory_cgroup
def test_a_worker_that_the_kernel_kills_for_memory_costs_no_data() -> None:
    with memory_group(700 * MB) as group:
        ours = ran({"hungry_at": 90}, join=group.join)
        kills = group.kills

    told = json.loads(ours.stdout)
    assert kills == 1
    assert ours.returncode == 0
    assert told["checksum"] == CHECKSUM
    (death,) = told["deaths"]
    assert "was killed by signal: Killed. Another takes its place" in death
    assert "The kernel has killed 1 for want of memory meanwhile." in death
