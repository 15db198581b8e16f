"""Tuning finds what is planted, leaves the user's state alone, and keeps to its limits."""

import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import SCRIPTS, run
from torch.utils.data import DataLoader, Dataset, IterableDataset

import wellfed
from wellfed.errors import NoVerdict
from wellfed.records import Failed, Measured, Tuning, Vetoed, load
from wellfed.testing import CpuBurn, Latency, Streamed


def step(batch: Any) -> None:
    del batch


@pytest.mark.long
def test_waiting_samples_get_workers_and_the_gain_is_measured() -> None:
    loader = DataLoader(Latency(0.004, length=2000), batch_size=8)

    report = wellfed.tune(loader, step, budget_s=12)

    assert report.tuning is not None
    answer = report.tuning.answer("torch")
    assert answer is not None
    assert answer.plan.workers >= 2
    assert answer.gain.low > 1.5
    assert f"num_workers={answer.plan.workers}" in answer.change
    own = report.tuning.answer("wellfed")
    assert own is not None
    assert own.plan.backend == "processes"
    tried = [one for one in report.tuning.trials if isinstance(one.outcome, Measured)]
    assert {one.plan.backend for one in tried if one.plan} == {"torch", "processes", "inline"}


def test_nothing_of_the_users_is_drawn_or_moved() -> None:
    generator = torch.Generator().manual_seed(7)
    loader = DataLoader(
        CpuBurn(0.0005, length=400), batch_size=8, shuffle=True, generator=generator
    )
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    seen = wellfed.observe()
    with seen:
        for _ in loader:
            pass
    states = random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()
    drawn = generator.get_state().tolist()

    from wellfed._attach.tuning import tune

    tune(seen.diagnose(), loader, step=step, budget_s=6)

    assert (random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()) == states
    assert generator.get_state().tolist() == drawn


class Fat(Dataset[torch.Tensor]):
    """Samples that wait, in workers that hold memory."""

    held: torch.Tensor | None = None

    def __len__(self) -> int:
        return 2000

    def __getitem__(self, index: int) -> torch.Tensor:
        if torch.utils.data.get_worker_info() is not None and self.held is None:
            self.held = torch.ones(30_000_000)  # 120 MB
        time.sleep(0.004)
        return torch.full((4,), float(index))


def test_no_plan_beyond_the_memory_allowed_wins() -> None:
    loader = DataLoader(Fat(), batch_size=8)

    report = wellfed.tune(loader, step, budget_s=10, memory_bytes=60_000_000)

    assert report.tuning is not None
    for answer in report.tuning.answers:
        assert answer.peak_bytes is None or answer.peak_bytes <= 60_000_000
    kept_out = [one for one in report.tuning.trials if not isinstance(one.outcome, Measured)]
    assert kept_out
    assert all(isinstance(one.outcome, Failed | Vetoed) for one in kept_out)


class Broken(Dataset[torch.Tensor]):
    """Cannot be read in a worker."""

    def __len__(self) -> int:
        return 2000

    def __getitem__(self, index: int) -> torch.Tensor:
        if torch.utils.data.get_worker_info() is not None:
            raise OSError("no such share")
        time.sleep(0.001)
        return torch.full((4,), float(index))


def test_settings_that_raise_are_listed_with_what_they_said() -> None:
    report = wellfed.tune(DataLoader(Broken(), batch_size=8), step, budget_s=6)

    assert report.tuning is not None
    failed = [one.outcome for one in report.tuning.trials if isinstance(one.outcome, Failed)]
    assert failed
    assert all("no such share" in one.why for one in failed)
    assert all(answer.plan.workers == 0 for answer in report.tuning.answers)


def test_a_stream_is_not_tried() -> None:
    stream: IterableDataset[Any] = Streamed(Latency(0.001, length=200))

    with pytest.raises(NoVerdict, match="nothing can be tried"):
        wellfed.tune(DataLoader(stream, batch_size=8), step, budget_s=5)


def test_a_script_is_tuned_without_an_edit(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wellfed", "tune", "--budget", "8", "--seconds", "4"]
    saved = tmp_path / "tuned.json"

    ran = run([*command, "--json", str(saved), str(SCRIPTS / "endless.py")], tmp_path)

    assert ran.code == 0, ran.said
    assert "settings tried in" in ran.out
    assert "DataLoader(..., num_workers=" in ran.out
    tuning: Tuning | None = load(saved).tuning
    assert tuning is not None
    assert [answer.loader for answer in tuning.answers] == ["torch", "wellfed"]


def test_a_size_that_is_none_is_usage(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wellfed", "tune", "--memory", "much", "train.py"]

    ran = run(command, tmp_path)

    assert ran.code == 2
    assert "is no size" in ran.told
