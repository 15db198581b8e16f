"""Tuning finds what is planted, leaves the user's state alone, and keeps to its limits."""

import os
import random
import re
import signal
import subprocess
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
from wellfed.records import Failed, Measured, Plan, TunedPlan, Tuning, Vetoed, load
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

    from wellfed._attach import Wanted
    from wellfed._attach.tuning import tune

    tune(seen.diagnose(), loader, Wanted(budget_s=6), step=step)

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


@pytest.mark.long
def test_wellfeds_own_loader_is_tuned_too() -> None:
    loader = wellfed.DataLoader(Latency(0.003, length=2000), batch_size=8)

    report = wellfed.tune(loader, step, budget_s=6)

    assert report.tuning is not None
    assert report.tuning.present.backend == "inline"
    own = report.tuning.answer("wellfed")
    assert own is not None
    assert own.gain.value > 1.2
    assert own.plan.workers > 0


def test_a_stream_is_not_tried() -> None:
    stream: IterableDataset[Any] = Streamed(Latency(0.001, length=200))

    with pytest.raises(NoVerdict, match="nothing can be tried"):
        wellfed.tune(DataLoader(stream, batch_size=8), step, budget_s=5)


def test_a_script_is_tuned_without_an_edit(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wellfed", "tune", "--budget", "8", "--seconds", "4"]
    saved, plan = tmp_path / "tuned.json", tmp_path / "plan.json"
    files = ["--json", str(saved), "--plan", str(plan)]

    ran = run([*command, *files, str(SCRIPTS / "endless.py")], tmp_path)

    assert ran.code == 0, ran.said
    assert f'DataLoader(..., plan="{plan}")' in ran.told
    kept = load(plan, TunedPlan)
    assert [answer.loader for answer in kept.answers] == ["torch", "wellfed"]
    assert "samples" in kept.key.dataset
    assert "settings tried in" in ran.out
    assert "DataLoader(..., num_workers=" in ran.out
    tuning: Tuning | None = load(saved).tuning
    assert tuning is not None
    assert [answer.loader for answer in tuning.answers] == ["torch", "wellfed"]


def test_a_sweep_runs_every_combination_in_turn_with_the_machine_beside_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wellfed", "tune", "--budget", "5", "--seconds", "2"]
    knobs = ["--sweep", "num_workers=0,2", "prefetch_factor=2,4", "pin_memory=0,1"]
    saved = tmp_path / "swept.json"

    ran = run([*command, *knobs, "--json", str(saved), str(SCRIPTS / "endless.py")], tmp_path)

    assert ran.code == 0, ran.said
    told = re.findall(r"torch: (num_workers=\d(?:, prefetch_factor=\d)?)", ran.said)
    round_of = 3
    assert told[:round_of] == told[round_of : 2 * round_of]
    assert len(set(told[:round_of])) == round_of
    assert max(map(len, ran.out.splitlines())) <= 80
    tuning: Tuning | None = load(saved).tuning
    assert tuning is not None
    assert tuning.swept["num_workers"] == ("0", "2")
    run_ones = [one for one in tuning.trials if isinstance(one.outcome, Measured)]
    assert {one.plan.workers for one in run_ones if one.plan} == {0, 2}
    for one in run_ones:
        assert one.gauges["own_busy_cores"] > 0
        assert "run_queue" in one.gauges
        assert one.says
    refused = [one.outcome.why for one in tuning.trials if isinstance(one.outcome, Vetoed)]
    assert "prefetch_factor needs workers" in refused


def test_what_cannot_be_swept_is_usage_before_the_script_runs(tmp_path: Path) -> None:
    ran = run(
        [sys.executable, "-m", "wellfed", "tune", "--sweep", "colour=1,2", "train.py"], tmp_path
    )

    assert ran.code == 2
    assert "cannot be swept" in ran.told


def test_ctrl_c_gives_the_best_so_far(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wellfed", "tune", "--budget", "16", "--seconds", "1"]
    process = subprocess.Popen(
        [*command, str(SCRIPTS / "endless.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        start_new_session=True,  # as a terminal would: Ctrl-C goes to the workers, too
    )
    assert process.stderr is not None
    trials = 0
    for line in process.stderr:
        trials += "it took" in line
        if trials == 2:
            break

    os.killpg(process.pid, signal.SIGINT)
    out, told = process.communicate(timeout=60)

    assert process.returncode == 0, told
    assert "the best so far" in out
    assert "DataLoader(..., num_workers=" in out
    assert "Traceback" not in told


class Growing(Dataset[torch.Tensor]):
    """Samples that wait, in workers that hold more with each of them."""

    def __init__(self) -> None:
        self.held: list[torch.Tensor] = []

    def __len__(self) -> int:
        return 4000

    def __getitem__(self, index: int) -> torch.Tensor:
        if torch.utils.data.get_worker_info() is not None:
            self.held.append(torch.ones(250_000))  # 1 MB
        time.sleep(0.01)
        return torch.full((4,), float(index))


@pytest.mark.long
def test_a_trial_that_comes_near_the_memory_allowed_is_stopped() -> None:
    from wellfed._attach.trying import Trier
    from wellfed._engine.experiments.replay import HandedOver
    from wellfed._engine.experiments.twin import index_batches

    loader = DataLoader(Growing(), batch_size=4)
    allowed = 150_000_000
    trier = Trier(
        loader, index_batches(loader), HandedOver(step), stretch_s=3.0, memory_bytes=allowed
    )
    began = time.perf_counter()

    stretch = trier.try_out(Plan(workers=2, prefetch=2, start_method="fork"))

    assert "are allowed" in stretch.reading.failed
    assert time.perf_counter() - began < 3.0
    taken, unit = re.findall(r"took (\d+) (MB)", stretch.reading.failed)[0]
    assert unit == "MB"
    assert 0.9 * allowed < float(taken) * 1e6 < 1.6 * allowed


def test_a_size_that_is_none_is_usage(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wellfed", "tune", "--memory", "much", "train.py"]

    ran = run(command, tmp_path)

    assert ran.code == 2
    assert "is no size" in ran.told
