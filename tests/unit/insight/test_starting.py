"""How many workers fit before anything is known of their batches."""

import pytest

from wellfed._insight.starting import fitting
from wellfed.records import Plan

FORKED, SPAWNED = (
    Plan(backend="processes", workers=8, start_method=how) for how in ("fork", "spawn")
)


@pytest.mark.parametrize(
    ("plan", "memory_bytes", "files", "workers", "by"),
    [
        (FORKED, 100e6, None, 7, "100 MB are there"),
        (FORKED, 100e6, 1000, 7, "100 MB are there"),
        (FORKED, 1e9, 64, 12, "64 more may be opened (ulimit -n)"),
        (FORKED, 1e9, 10, 0, "10 more may be opened"),
        (FORKED, 1e6, None, 0, "1.0 MB are there"),
        # The template has 175 MB, and each of its workers 65.
        (SPAWNED, 1e9, None, 8, "each has 65 MB"),
    ],
)
def test_memory_or_open_files_bound_the_workers(
    plan: Plan, memory_bytes: float, files: float | None, workers: int, by: str
) -> None:
    found = fitting(plan, memory_bytes, files)

    assert found.workers == workers
    assert by in found.binding
