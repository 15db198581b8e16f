"""Loaders that frameworks build, wrap and iterate are seen as the user's own are."""

from pathlib import Path

import pytest
from runs import SCRIPTS, Ran, diagnose, heard, line_marked, python

from wellfed.records import Trace, load


def check(ours: Ran, script: Path, workers: int, mark: str = "# here") -> Trace:
    """What holds for each: our answer, at the user's line, with every batch's note."""
    assert ours.code in (0, 3), ours
    assert "Traceback" not in ours.said
    assert "VERDICT" in ours.out
    trace = ours.report.trace
    assert str(trace.site) == line_marked(script, mark)
    assert trace.plan.workers == workers
    assert heard(trace.spans) == len(trace.spans)
    assert trace.failures == ()
    return trace


def test_torch_geometric(tmp_path: Path) -> None:
    script = SCRIPTS / "geometric.py"

    trace = check(diagnose(tmp_path, "--full", str(script)), script, workers=2)

    assert trace.loader == "torch_geometric.loader.dataloader.DataLoader"
    assert len(trace.spans) == 40
    assert [epoch.batches for epoch in trace.epochs] == [8] * 5


def test_accelerate(tmp_path: Path) -> None:
    script = SCRIPTS / "accelerated.py"

    trace = check(diagnose(tmp_path, "--steps", "50", str(script)), script, workers=1)

    assert len(trace.spans) == 50
    assert trace.ended_because == "stopped"


def test_lightning(tmp_path: Path) -> None:
    script = SCRIPTS / "lit.py"

    trace = check(diagnose(tmp_path, "--steps", "50", str(script)), script, 0, "# training")

    assert len(trace.spans) == 50
    assert trace.ended_because == "stopped"
    assert line_marked(script, "# validation") in [str(other.site) for other in trace.others]


def test_transformers(tmp_path: Path) -> None:
    script = SCRIPTS / "transformed.py"

    ours = diagnose(tmp_path, "--full", str(script), str(tmp_path))
    trace = check(ours, script, workers=2)

    assert "trained 40\n" in ours.out
    assert len(trace.spans) >= 40
    assert trace.ended_because == "finished"


@pytest.fixture(scope="module")
def stateful(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trace]:
    folder = tmp_path_factory.mktemp("stateful")
    ran = python(folder, str(SCRIPTS / "stateful.py"), str(folder))

    assert ran.code == 0, ran
    assert "Traceback" not in ran.said
    return {file.stem: load(file).trace for file in folder.glob("*.json")}


@pytest.mark.parametrize(("name", "workers"), [("none", 0), ("two", 2), ("persistent", 2)])
def test_torchdata(stateful: dict[str, Trace], name: str, workers: int) -> None:
    trace = stateful[name]

    assert trace.loader.endswith(".StatefulDataLoader")
    assert trace.plan.workers == workers
    assert heard(trace.spans) == len(trace.spans) == 18
    assert [epoch.batches for epoch in trace.epochs if epoch.batches] == [6, 6, 6]
    assert trace.failures == ()


def test_torchdata_resumes_where_it_was(stateful: dict[str, Trace]) -> None:
    trace = stateful["resumed"]

    assert sum(other.batches for other in trace.others) + len(trace.spans) == 6
    assert heard(trace.spans) == len(trace.spans)
