"""A script on `wellfed.DataLoader` is diagnosed as one on torch's; the loader reports on itself."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import SCRIPTS, diagnose, heard, line_marked
from torch.utils.data import DataLoader, TensorDataset

import wellfed
from wellfed.errors import UsageError
from wellfed.testing import CpuBurn, Latency, TinyItems

SCRIPT = SCRIPTS / "engine.py"
CPU = {"cpu_underprovisioned", "cpu_saturated", "too_noisy"}
"""Which of them depends on the cores of the machine and on its neighbours."""


@pytest.mark.parametrize(
    ("kind", "workers", "backend", "expected"),
    [
        ("cpu", "0", "inline", CPU),
        ("cpu", "2", "processes", CPU),
        ("cpu", "auto", "processes", CPU),
        ("far", "0", "inline", {"latency_bound"}),
        ("far", "2", "processes", {"latency_bound"}),
        ("stream", "2", "processes", {"latency_bound"}),
        ("rows", "2", "inline", {"consumer_bound"}),
    ],
)
def test_a_script_on_the_engine_gets_a_verdict(
    tmp_path: Path, kind: str, workers: str, backend: str, expected: set[str]
) -> None:
    ran = diagnose(tmp_path, "--seconds=6", str(SCRIPT), kind, workers)

    assert ran.said == ""
    # Too noisy is no verdict, which has a code of its own.
    assert ran.code == (3 if ran.report.verdict.abstains else 0)
    trace = ran.report.trace
    assert str(trace.site) == line_marked(SCRIPT)
    assert trace.plan.backend == backend
    assert heard(trace.spans) == len(trace.spans)
    assert ran.report.verdict.name in expected | {"too_noisy"}


def taken(loader: Any, batches: int) -> Any:
    for _ in itertools.islice(loader, batches):
        pass
    return loader.report()


@pytest.mark.parametrize(("workers", "backend"), [(0, "inline"), (2, "processes")])
def test_a_loader_reports_on_itself(workers: int, backend: str) -> None:
    loader = wellfed.DataLoader(Latency(0.002), batch_size=8, num_workers=workers)  # here

    report = taken(loader, 60)

    assert (report.trace.plan.backend, report.trace.plan.workers) == (backend, workers)
    assert report.verdict.name == "latency_bound"
    assert str(report.trace.site) == line_marked(__file__)
    assert report.trace.epochs[0].started_workers == workers
    assert len(report.trace.spans) == 60
    assert "latency_bound" in wellfed.render(report)


def test_a_report_is_to_be_had_within_an_epoch_and_after_it() -> None:
    loader = wellfed.DataLoader(TinyItems(length=40), batch_size=4, num_workers=1)
    iterator = iter(loader)
    for _ in range(4):
        next(iterator)
    (begun,) = loader.report().trace.epochs
    for _ in iterator:
        pass
    (ended,) = loader.report().trace.epochs

    assert (begun.batches, begun.complete) == (4, False)
    assert (ended.batches, ended.complete) == (10, True)


def test_epochs_of_workers_that_stay_are_told_apart() -> None:
    loader = wellfed.DataLoader(
        TinyItems(length=40), batch_size=4, num_workers=2, persistent_workers=True
    )
    for _ in range(2):
        for _ in loader:
            pass
    trace = loader.report().trace

    assert [(one.batches, one.started_workers) for one in trace.epochs] == [(10, 2), (10, 0)]
    assert all(one.complete for one in trace.epochs)


def test_no_more_than_the_last_batches_are_kept() -> None:
    loader = wellfed.DataLoader(TensorDataset(torch.arange(6_000)))
    for _ in loader:
        pass
    trace = loader.report().trace

    assert (len(trace.spans), trace.spans_dropped) == (4_096, 1_904)


def test_a_loader_that_gave_nothing_has_no_report() -> None:
    loader = wellfed.DataLoader(TinyItems(length=4))

    with pytest.raises(UsageError, match="has delivered no batch yet"):
        loader.report()


def test_a_loader_that_torch_serves_says_so() -> None:
    plan = wellfed.records.Plan(backend="torch")
    loader = wellfed.DataLoader(TinyItems(length=4), plan=plan)
    list(loader)

    with pytest.raises(UsageError, match="torch's own iterator serves this loader"):
        loader.report()


def test_installed_the_engine_is_seen_under_torchs_class() -> None:
    loader: DataLoader[Any] = DataLoader(CpuBurn(0.0005), batch_size=8, num_workers=1)
    with wellfed.observe() as seen, wellfed.install():
        for _ in itertools.islice(loader, 40):
            pass
    trace = seen.diagnose().trace

    assert (trace.loader, trace.plan.backend) == (
        "torch.utils.data.dataloader.DataLoader",
        "processes",
    )
    assert heard(trace.spans) == 40
    assert all(span.samples == 8 for span in trace.spans)
    assert {span.tensors for span in trace.spans} <= {-1, 1}
