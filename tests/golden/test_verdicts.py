"""Recorded runs with planted bottlenecks, judged again: every rule fires where it must, and not
where something like it is the matter."""

from pathlib import Path

import numpy as np
import pytest
from scenarios import ON_DEVICES, SCENARIOS

from wellfed._insight.codes import CODES
from wellfed._insight.diagnose import build_case, judge
from wellfed._insight.rules import RULES
from wellfed.records import Case, Report, load
from wellfed.seams import Rule

TRACES = Path(__file__).parent / "traces"

NEAR_MISSES = {
    "consumer_bound": "trainer_computes",
    "cpu_underprovisioned": "all_cores_compute",
    "cpu_saturated": "one_worker_computes",
    "cpu_quota": "all_cores_compute",
    "thread_oversubscription": "all_cores_compute",
    "affinity_pinned": "all_cores_compute",
    "latency_bound": "slow_disk",
    "storage_bound": "remote",
    "in_memory_overhead": "many_tensors",
    "per_item_overhead": "trainer_computes",
    "per_batch_overhead": "rows_four_workers",
    "transport_bytes": "many_tensors",
    "transport_objects": "big_batches",
    "head_of_line": "remote",
    "startup_respawn": "one_worker_computes",
    "noisy_neighbour": "all_cores_compute",
    "read_amplification": "memory_too_small",
    "cold_cache_transient": "memory_too_small",
    "cache_too_small": "slow_disk",
    "serialization_bound": "many_tensors",
    "collate_bound": "one_worker_computes",
    "burst_jitter": "remote",
    "interference": "padding",
    "lock_serialised": "bursts",
    "rank_oversubscription": "late_rank",
    "rank_straggler": "ranks_with_workers",
    "blocking_copy": "big_batches",
    "pin_bound": "big_batches",
    "startup_pickle": "short_epochs",
    "idle_workers": "short_epochs",
    "too_few_shards": "many_shards",
    "sampler_bound": "rows_no_workers",
    "cache_lost": "short_epochs",
    "duplicate_samples": "many_shards",
    "equal_seeds": "seeded_by_torch",
    "frozen_epoch": "epoch_told",
    "memory_growth_cow": "array_shared",
    "memory_risk_prefetch": "big_batches",
    "shm_too_small": "big_batches",
    "fd_limit": "many_tensors",
    "swap": "slow_disk",
}
"""For each rule a run that resembles what it looks for, and is something else."""


def name_of(rule: Rule) -> str:
    return str(getattr(rule, "__name__", rule))


def case_of(name: str) -> Case:
    report = load(TRACES / f"{name}.json.gz", Report)
    case = build_case(report.machine, report.workload, report.trace, np.random.default_rng(0))
    assert case is not None

    return case


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_recorded_run_gets_its_verdict(name: str) -> None:
    verdict = judge(case_of(name))

    assert verdict.name == SCENARIOS[name].verdict
    assert bool(verdict.abstains) == (CODES[verdict.name] >= "WF900")


@pytest.mark.parametrize("name", [name for name, one in SCENARIOS.items() if one.also])
def test_a_second_cause_is_named_after_the_verdict_in_order_of_cost(name: str) -> None:
    findings = judge(case_of(name)).findings
    costs = [finding.cost_share.value for finding in findings[1:]]

    assert SCENARIOS[name].also in [finding.name for finding in findings[1:]]
    assert costs == sorted(costs, reverse=True)


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_a_rule_is_silent_on_its_near_miss(rule: Rule) -> None:
    assert rule(case_of(NEAR_MISSES[name_of(rule)])) is None


def test_every_rule_has_a_run_on_which_it_binds() -> None:
    bound = {scenario.verdict for scenario in (SCENARIOS | ON_DEVICES).values()}

    assert bound == set(CODES)
    assert {name_of(rule) for rule in RULES} <= bound


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_said_can_be_acted_on(name: str) -> None:
    verdict = judge(case_of(name))

    assert any(letter.isdigit() for letter in verdict.headline)
    assert {knob.name for knob in verdict.knobs} == (
        set()
        if verdict.abstains
        else {"num_workers", "prefetch_factor", "pin_memory", "persistent_workers"}
    )
    for finding in verdict.findings:
        assert finding.code == CODES[finding.name]
        assert finding.evidence
        assert finding.remedies
        assert (
            0 <= finding.cost_share.low <= finding.cost_share.value <= finding.cost_share.high <= 1
        )
        for remedy in finding.remedies:
            assert remedy.gain is None or remedy.gain.low <= remedy.gain.value <= remedy.gain.high
