"""What tuning found, as a card of 80 columns and as data for pictures."""

import msgspec
import pytest
from reports import NOISY, est

from wellfed._report.trials import settings_map, trial_table
from wellfed._report.tuned import render_tuning
from wellfed.records import (
    Answer,
    Expected,
    Failed,
    Measured,
    Outcome,
    Plan,
    Report,
    Trial,
    Tuning,
    Vetoed,
)

GAUGES = {
    "cpu_core_0": 0.97,
    "cpu_core_1": 0.95,
    "run_queue": 3.21,
    "disk_read_bytes_per_s": 12.3e6,
    "disk_reads_per_s": 1234.0,
    "swap_in_bytes_per_s": 0.0,
    "psi_cpu_some_share": 0.41,
    "psi_io_some_share": 0.02,
}


def plan(workers: int, prefetch: int | None = 2) -> Plan:
    return Plan(workers=workers, prefetch=prefetch if workers else None)


def trial(of: Plan, outcome: Outcome) -> Trial:
    return Trial(
        name=f"torch: num_workers={of.workers}",
        kind="setting",
        question="how fast is it?",
        plan=of,
        outcome=outcome,
        gauges=GAUGES,
        says=("both cores full", "disk 12 MB/s"),
    )


def measured(seconds: float) -> Measured:
    return Measured(seconds=est(seconds), batches=40, peak_bytes=123_000_000)


TUNING = Tuning(
    present=plan(0),
    trials=(
        trial(plan(0), measured(0.03)),
        trial(plan(2), measured(0.01)),
        trial(plan(2, 4), measured(0.0101)),
        trial(plan(3), measured(0.012)),
        trial(plan(4), Failed(why="MemoryError: its workers took 2 GB, and 1 GB are allowed")),
        trial(plan(6), Vetoed(why="it would take 4 GB more, and 1 GB are left")),
        trial(plan(8), Vetoed(why="it would take 4 GB more, and 1 GB are left")),
    ),
    answers=(
        Answer(
            loader="torch",
            plan=plan(2),
            seconds=est(0.01),
            gain=est(3.0),
            change="num_workers=2",
            why="test",
        ),
    ),
    expected=tuple(
        Expected(plan=one, seconds=0.02, memory_bytes=10_000_000 * one.workers)
        for one in (plan(0), plan(2), plan(2, 4), plan(4))
    ),
    memory_bytes=10**9,
)
TUNED: Report = msgspec.structs.replace(NOISY, tuning=TUNING)


def test_each_setting_says_how_it_compares_and_what_the_machine_did() -> None:
    table = trial_table(TUNED)

    assert table is not None
    assert [one.verdict for one in table.rows] == [
        "takes 3.0x as long",
        "the answer",
        "as fast, but takes more",
        "20 % slower",
        "failed: MemoryError: its workers took 2 GB, and 1 GB are allowed",
    ]
    first = dict(zip(table.heads, table.rows[0].cells, strict=True))
    assert first["settings"] == "torch 0"
    assert first["core %"] == "97 95"
    assert first["queue"] == "3.2"
    assert first["MB/s"] == "12.3"
    assert first["IOPS"] == "1,234"
    assert first["swap"] == "0.0"
    assert first["memory"] == "123 MB"
    assert first["PSI"] == "cpu 41"
    assert table.rows[0].says == "both cores full, disk 12 MB/s"
    assert table.refused == ("2 settings: it would take 4 GB more, and 1 GB are left",)


@pytest.mark.parametrize("width", [80, 100])
def test_the_card_keeps_to_its_columns(width: int) -> None:
    lines = render_tuning(TUNED, width=width).splitlines()

    assert max(map(len, lines)) <= width
    assert any("both cores full" in line for line in lines)
    assert any(line.strip().startswith("torch 2×2") and "123 MB" in line for line in lines)


def test_the_map_has_what_was_measured_and_what_is_predicted() -> None:
    found = settings_map(TUNED)

    assert found is not None
    by_place = {(one.workers, one.prefetch): one for one in found.spots}
    assert by_place[2, 2].measured
    assert by_place[2, 2].chosen
    assert not by_place[4, 2].measured
    assert by_place[2, 2].rate == pytest.approx(2 * by_place[4, 2].rate)
    assert by_place[4, 2].memory_bytes == 40_000_000
    assert found.limit_bytes == 10**9


def test_without_a_tuning_there_is_nothing() -> None:
    assert render_tuning(NOISY) == ""
    assert trial_table(NOISY) is None
    assert settings_map(NOISY) is None
