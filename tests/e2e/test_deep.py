"""Experiments on real loaders with planted costs: the lines add up, the cost is named, and nothing
of the user's is touched."""

import copy
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import SCRIPTS, diagnose
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler

import wellfed
from wellfed._attach import Limits, Observation, Stops
from wellfed._engine.experiments.staged import spin as burn
from wellfed.records import Measured, Proof, Report, Vetoed
from wellfed.testing import BigTensors, CpuBurn, Latency

BUDGET_S = 10.0


def deep(loader: Any, step_s: float = 0.0, *, burns: bool = False, steps: int = 40) -> Report:
    """Watched for so many steps, then experimented on, as `diagnose --deep` does with a script."""
    observation = Observation(
        Limits(seconds=20.0, steps=steps), stops=Stops.ALONE, keep_loaders=True
    )
    with observation as seen:
        while seen.at_home:
            for _ in loader:
                (burn if burns else time.sleep)(step_s)
    return seen.confirm(seen.diagnose(), budget_s=BUDGET_S)


def proof_of(report: Report) -> Proof:
    assert report.proof is not None
    return report.proof


def seconds(proof: Proof) -> dict[str, float]:
    return {one.name: one.seconds.value for one in proof.costs}


PLANTED = {
    "waiting": lambda: DataLoader(Latency(0.006), batch_size=4, num_workers=2),
    "compute": lambda: DataLoader(CpuBurn(0.006), batch_size=4, num_workers=1),
    "hand_over": lambda: DataLoader(BigTensors(4_000_000), batch_size=4, num_workers=1),
}


@pytest.mark.long
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_cost_is_named_and_the_lines_add_up(name: str) -> None:
    proof = proof_of(deep(PLANTED[name]()))

    assert proof.period_s is not None
    assert sum(seconds(proof).values()) == pytest.approx(proof.period_s.value, rel=1e-9)
    costs = seconds(proof)
    assert max(costs, key=lambda one: costs[one]) in {name, *_LIKE.get(name, ())}
    assert proof.spent_s < BUDGET_S + 12


# Copying the samples into the batch writes the very memory that is handed over.
_LIKE = {"hand_over": ("collate", "compute")}


@pytest.mark.long
def test_a_slow_step_is_named_and_confirmed() -> None:
    report = deep(DataLoader(Latency(0.001), batch_size=2, num_workers=2), step_s=0.03)

    assert proof_of(report).named == "step"
    assert report.verdict.name == "consumer_bound"
    assert "your step alone takes" in report.verdict.findings[0].evidence[0].text


@pytest.mark.long
def test_the_gain_of_the_remedy_is_measured_beside_what_was_predicted() -> None:
    report = deep(DataLoader(Latency(0.01), batch_size=4, num_workers=1))

    remedy = next(one for one in report.verdict.findings[0].remedies if one.plan is not None)
    assert remedy.measured
    assert remedy.gain is not None
    assert remedy.predicted is not None
    assert remedy.gain.value > 1.5
    card = wellfed.render(report)
    assert "measured" in card
    assert "predicted)" in card
    assert "proof" in card
    assert "not tested" in card


def test_a_script_is_experimented_on_after_it_was_stopped(tmp_path: Path) -> None:
    ours = diagnose(tmp_path, "--deep", "--steps", "60", str(SCRIPTS / "planted.py"))

    assert ours.code == 0, ours
    assert ours.said == ""
    assert ours.out.startswith("trains\n")
    assert "experiments on a copy of its loader follow, for at most 60 s" in ours.told
    assert "experiments on a copy of the loader, about" in ours.told
    assert ours.report.verdict.name == "latency_bound"
    proof = proof_of(ours.report)
    assert proof.named == "waiting"
    assert proof.period_s is not None
    assert sum(seconds(proof).values()) == pytest.approx(proof.period_s.value, rel=1e-9)
    assert "proof" in ours.out
    assert "not tested" in ours.out


# -- what is the user's stays as it was


class Own(Dataset[int]):
    """Counts its reads in the process that it lives in."""

    def __init__(self) -> None:
        self.reads = 0

    def __len__(self) -> int:
        return 400

    def __getitem__(self, index: int) -> int:
        self.reads += 1
        return random.randrange(100) + int(torch.randint(100, ()))


def states() -> tuple[Any, ...]:
    return random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()


@pytest.mark.parametrize("workers", [0, 1])
def test_generators_samplers_and_iterators_are_where_they_were(workers: int) -> None:
    generator = torch.Generator().manual_seed(1)
    sampler_generator = torch.Generator().manual_seed(2)
    dataset = Own()
    sampler = RandomSampler(dataset, generator=sampler_generator)
    loader = DataLoader(
        dataset, batch_size=4, sampler=sampler, num_workers=workers, generator=generator
    )
    mine = iter(loader)
    next(mine)
    with Observation(Limits(full=True), keep_loaders=True) as seen:
        for _ in loader:
            pass
    report = seen.diagnose()
    before = states(), generator.get_state().tolist(), sampler_generator.get_state().tolist()
    reads, descriptors = dataset.reads, sorted(os.listdir("/proc/self/fd"))
    left = copy.copy(vars(loader))

    proof = proof_of(seen.confirm(report, budget_s=6.0))

    after = states(), generator.get_state().tolist(), sampler_generator.get_state().tolist()
    assert any(isinstance(one.outcome, Measured) for one in proof.trials)
    assert before == after
    assert vars(loader) == left
    assert sorted(os.listdir("/proc/self/fd")) == descriptors
    assert workers == 0 or dataset.reads == reads
    assert len(list(mine)) == 99  # the iterator that was begun before goes on as if nothing was


def test_a_dataset_that_opts_out_is_not_read() -> None:
    class Ledger(Own):
        wellfed_experiments = False

    dataset = Ledger()
    with Observation(Limits(full=True), keep_loaders=True) as seen:
        for _ in DataLoader(dataset, batch_size=4):
            pass
    reads = dataset.reads

    proof = proof_of(seen.confirm(seen.diagnose(), budget_s=6.0))

    assert dataset.reads == reads
    assert {why for _, why in proof.untested} == {"its dataset says wellfed_experiments = False"}


def test_a_stream_is_not_consumed() -> None:
    class Once(IterableDataset[int]):
        numbers = iter(range(400))

        def __iter__(self) -> Iterator[int]:
            return self.numbers

    with Observation(Limits(seconds=20.0, steps=20), stops=Stops.ALONE, keep_loaders=True) as seen:
        for _ in DataLoader(Once(), batch_size=2):
            pass

    proof = proof_of(seen.confirm(seen.diagnose(), budget_s=6.0))

    assert all(isinstance(one.outcome, Vetoed) for one in proof.trials)
    assert next(Once.numbers) < 60


def test_a_dataset_that_cannot_be_read_again_is_said_so() -> None:
    class Closing(Own):
        open = True

        def __getitem__(self, index: int) -> int:
            if not self.open:
                raise ValueError("the archive is closed")
            return super().__getitem__(index)

    dataset = Closing()
    with Observation(Limits(full=True), keep_loaders=True) as seen:
        for _ in DataLoader(dataset, batch_size=4):
            pass
    dataset.open = False
    report = seen.diagnose()

    after = seen.confirm(report, budget_s=6.0)

    assert after.verdict == report.verdict
    assert ("as_is", "ValueError: the archive is closed") in proof_of(after).untested


def test_a_step_that_is_handed_over_runs_on_cached_batches_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wellfed._api.DEEP_S", 8.0)
    seen: list[int] = []

    def step(batch: Any) -> None:
        seen.append(len(batch))
        time.sleep(0.002)

    report = wellfed.diagnose(
        DataLoader(Latency(0.0005, length=256), batch_size=4, num_workers=1),
        step,
        seconds=1.0,
        deep=True,
    )

    assert set(seen) == {4}
    assert len(seen) > len(report.trace.spans)
    assert {"as_is", "cached"} <= {
        one.name for one in proof_of(report).trials if isinstance(one.outcome, Measured)
    }
