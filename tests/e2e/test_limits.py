"""Memory, open files: what does not fit is made to fit before it hurts, and no batch changes."""

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fault_jobs import Numbers, begun, firsts
from memory_group import memory_group
from torch import Tensor
from torch.utils.data import IterableDataset

import wellfed
from wellfed.errors import PlanTooLarge, SharedMemoryFull, UsageError
from wellfed.records import Plan

SCRIPT = Path(__file__).parent / "scripts" / "limited.py"
MB = 1_000_000
PATIENCE_S = 60.0

# What the script computes over its 60 batches.
CHECKSUM = 0
for first in range(0, 240, 4):
    batch = torch.arange(first, first + 4, dtype=torch.float32)[:, None].expand(4, 1000)
    CHECKSUM = zlib.crc32(batch.contiguous().numpy().tobytes(), CHECKSUM)


def started(asked: dict[str, Any], join: Callable[[], None] | None = None) -> Any:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(SCRIPT), json.dumps(asked)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=join,
    )


def ended(child: Any, said: str = "") -> Any:
    out, err = child.communicate(said, timeout=PATIENCE_S)
    assert child.returncode == 0, err
    return json.loads(out.splitlines()[-1])


# -- in a group with little memory

DEEP = {"num_workers": 2, "prefetch_factor": 16}
# An interpreter with torch has some 200 MB, and 32 batches of 16 MB are 512 MB.
LITTLE = 600 * MB


@pytest.mark.memory_cgroup
def test_what_is_killed_for_memory_under_torch_runs_to_its_end() -> None:
    with memory_group(LITTLE) as group:
        torchs = started({"torch": True, "options": DEEP, "step_s": 0.1}, group.join)
        torchs.communicate(timeout=PATIENCE_S)
        killed = group.kills
        ours = ended(started({"options": DEEP, "step_s": 0.02}, group.join))
        kills = group.kills - killed

    assert torchs.returncode != 0
    assert killed > 0
    assert kills == 0
    assert ours["checksum"] == CHECKSUM
    assert "Memory is short" in ours["limited"][0]


@pytest.mark.memory_cgroup
@pytest.mark.parametrize("step_s", [0.2, pytest.param(0.05, marks=pytest.mark.long)])
def test_a_limit_that_shrinks_while_training_shrinks_what_slabs_take(step_s: float) -> None:
    """And what is given up is there for the trainer: without that it would be killed.

    It is looked twice a second: the quicker one leaves three looks, which a busy machine may miss.
    """
    asked = {"options": DEEP, "pause_at": 20, "step_s": step_s, "grows": 4 * MB}
    with memory_group(2_000 * MB) as group:
        child = started(asked, group.join)
        before = json.loads(child.stdout.readline())
        group.limit(group.used_bytes + 120 * MB)
        ours = ended(child, "go on\n")
        kills = group.kills

    assert kills == 0
    assert ours["checksum"] == CHECKSUM
    assert ours["windows"][20] == 32
    # Spare slabs go first, and batches ahead where that is not enough.
    assert ours["slabs"] < before["slabs"] - 40 * MB


# -- with few open files


def test_as_many_workers_as_open_files_allow_serve_the_loader() -> None:
    ours = ended(started({"files": 96, "options": {"num_workers": 40, "prefetch_factor": 1}}))

    assert ours["checksum"] == CHECKSUM
    assert 1 <= ours["workers"] < 30
    assert "more may be opened (ulimit -n)" in ours["limited"][0]


# -- as the user says


@pytest.mark.parametrize(("asked", "is_bytes"), [("64MiB", 2**26), (10**9, 10**9)])
def test_a_limit_is_a_size_and_stays_as_it_was_written(asked: Any, is_bytes: int) -> None:
    loader: Any = wellfed.DataLoader(Numbers(), num_workers=2, memory_limit=asked)
    iterator = iter(loader)

    assert loader.memory_limit == asked
    assert iterator._job.limits.memory_bytes == is_bytes
    assert iterator._job.limits.given


@pytest.mark.parametrize("asked", ["much", 0, -1, 1.5, True])
def test_what_is_no_size_is_said_at_once(asked: Any) -> None:
    with pytest.raises(UsageError, match="is no size"):
        wellfed.DataLoader(Numbers(), memory_limit=asked)


def most_slabs(batches: Any, keep: int) -> tuple[list[float], int, list[Tensor]]:
    """First numbers of all batches, the most that slabs took, and the batches kept to the end."""
    numbers, most, kept = [], 0, []
    for batch in batches:
        numbers.append(float(batch[0, 0]))
        if batches.is_open:
            most = max(most, batches._stream._crew.shelves.bytes)
        if keep:
            kept.append(batch)
    return numbers, most, kept


# 100 batches of 4 MB; a forked worker is forecast to have 10 MB, and has some 20 with its samples.
MANY = Numbers(400, 250_000)
LIMIT = 120 * MB


@pytest.mark.parametrize("keep", [0, 1])
def test_slabs_keep_within_the_limit_also_where_all_batches_are_kept(keep: int) -> None:
    batches = begun(MANY, prefetch_factor=32, memory_limit=LIMIT)

    numbers, most, kept = most_slabs(batches, keep)

    assert numbers == [4.0 * number for number in range(100)]
    assert [float(batch[-1, -1]) for batch in kept] == [4.0 * n + 3 for n in range(100)] * keep
    assert most <= LIMIT - 20 * MB


def test_a_worker_that_lacks_memory_waits_and_no_epoch_stands_still() -> None:
    """Stopped in the midst of an epoch, with every slab full of batches that nobody wants."""
    loader: Any = wellfed.DataLoader(
        MANY, batch_size=4, num_workers=2, persistent_workers=True, memory_limit=50 * MB
    )
    for _ in range(3):
        for batch in loader:
            assert batch[0, 0] == 0
            break

    assert firsts(loader) == [4.0 * number for number in range(100)]
    loader._iterator._shutdown_workers()


def test_a_batch_that_passes_the_limit_alone_says_so() -> None:
    batches = begun(Numbers(8, 10_000_000), batch_size=4, memory_limit=100 * MB)

    with pytest.raises(SharedMemoryFull, match=r"16\d MB of shared memory, and all .* 100 MB"):
        next(batches)

    batches._shutdown_workers()


# -- more workers than fit

TOO_LITTLE = 50 * MB
FITTING = 3


def test_fewer_processes_serve_the_same_logical_workers(caplog: pytest.LogCaptureFixture) -> None:
    batches = begun(Numbers(400), num_workers=8, memory_limit=TOO_LITTLE)

    assert firsts(batches) == [4.0 * number for number in range(100)]
    assert batches.plan.workers == FITTING
    assert [one.message for one in caplog.records if "instead of" in one.message] == [
        f"{FITTING} worker processes instead of 8: each has 10 MB of its own before it makes "
        "anything, and 50 MB are there for workers and batches."
    ]


class Endless(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(100))


def test_where_each_worker_is_needed_the_numbers_are_said() -> None:
    with pytest.raises(
        PlanTooLarge,
        match=r"8 worker processes do not fit, and 3 do; each logical worker needs its own here, "
        r"since the dataset is iterable: .* Use num_workers=3, or raise memory_limit",
    ):
        begun(Endless(), num_workers=8, memory_limit=TOO_LITTLE)


def test_a_plan_by_hand_is_kept_to_or_refused() -> None:
    plan = Plan(backend="processes", workers=8, prefetch=2)

    with pytest.raises(PlanTooLarge, match="8 worker processes do not fit, and 3 do"):
        begun(Numbers(), num_workers=8, plan=plan, memory_limit=TOO_LITTLE)


def test_a_report_says_what_was_changed() -> None:
    loader: Any = wellfed.DataLoader(
        MANY, batch_size=4, num_workers=2, prefetch_factor=32, memory_limit=LIMIT
    )
    for _ in zip(range(4), loader, strict=False):
        pass

    said = loader.report().trace.limited
    assert said[0].startswith("Memory is short (memory_limit): ")
    assert "limit" in str(wellfed.render(loader.report()))


def test_ranks_share_what_the_machine_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    def bytes_of(ranks: str) -> int:
        monkeypatch.setitem(os.environ, "LOCAL_WORLD_SIZE", ranks)
        found: int = begun(Numbers())._job.limits.memory_bytes
        return found

    assert bytes_of("1") / bytes_of("4") == pytest.approx(4, rel=0.2)
