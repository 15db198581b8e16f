"""What was asked for with --export is sent while the script runs, and the verdict at the end."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from runs import SCRIPTS, run

import wellfed
from wellfed.testing import CpuBurn


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("verb", ["run", "diagnose"])
def test_windows_and_then_the_verdict(tmp_path: Path, verb: str) -> None:
    script = str(SCRIPTS / "burning.py")

    ours = run(
        [sys.executable, "-m", "wellfed", verb, "--export", "jsonl:run.jsonl", script], tmp_path
    )

    *windows, verdict = lines(tmp_path / "run.jsonl")
    assert ours.out.startswith("batches 100\n")
    assert ours.code in (0, 3)
    assert {one["kind"] for one in windows} == {"window"}
    assert windows[-1]["backend"] == ("processes" if verb == "run" else "torch")
    assert windows[-1]["site"].startswith(script)
    assert verdict["kind"] == "verdict"
    assert verdict["name"]


def test_an_exporter_that_is_not_known_ends_it_before_the_script_runs(tmp_path: Path) -> None:
    script = str(SCRIPTS / "burning.py")

    ours = run([sys.executable, "-m", "wellfed", "run", "--export", "csv:x", script], tmp_path)

    assert (ours.code, ours.out) == (2, "")
    assert "there is no exporter for 'csv:x'. Give one of jsonl:FILE" in ours.told


@pytest.mark.usefixtures("nothing_left_behind")
def test_from_python_a_failing_sink_is_told_of_once_and_the_loop_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing:
        def emit(self, seen: object) -> None:
            raise ConnectionError("nobody listens")

        def close(self) -> None: ...

    with wellfed.observe(export=[Failing()]) as seen:
        batches = sum(1 for _ in wellfed.DataLoader(CpuBurn(0.001, length=800), batch_size=2))

    assert batches == 400
    assert caplog.text.count("Failing failed and is now off") == 1
    assert seen.status is not None
    assert seen.status.batches == 400
    assert seen.diagnose().verdict.name


def test_a_wandb_run_of_the_scripts_own_gets_the_curves_and_the_verdict(tmp_path: Path) -> None:
    script = str(SCRIPTS / "logs_to_wandb.py")
    offline = {"WANDB_SILENT": "true", "WANDB_DIR": str(tmp_path)}

    ours = run([sys.executable, script], tmp_path, env=offline)

    assert ours.code == 0, ours.told
    told = json.loads(ours.out.splitlines()[-1])
    # Ten logs of the script's and one more that is under way: none of ours is a step.
    assert told["steps"] == 11
    assert told["summary"]["loss"] == 0.0
    assert told["summary"]["wellfed/verdict"]
    curves = {name.rpartition("/")[0] for name in told["summary"] if ".py:" in name}
    assert {"wellfed/wait_share", "wellfed/samples_per_s", "wellfed/step_s"} <= curves
