"""Whatever goes wrong, one sentence says what, and the exit code says whose fault it is."""

import json
import sys
from pathlib import Path

import pytest
from runs import SCRIPTS, Ran, diagnose, line_marked, run

BAD = SCRIPTS / "bad.py"


def wellfed(folder: Path, *words: str) -> Ran:
    return run([sys.executable, "-m", "wellfed", *words], folder)


# -- usage: 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "no script was given. Write: wellfed diagnose train.py"),
        (["missing.py"], "cannot open the script 'missing.py': No such file or directory."),
        (["-m", "missing.module"], "cannot find a module to run in 'missing.module'."),
        (["-m", "json.missing"], "cannot find a module to run in 'json.missing'."),
        (["folder"], "cannot find a module to run in 'folder'."),
        (["--json", "none/report.json", "x.py"], "cannot write none/report.json."),
        (["--json", "folder", "x.py"], "cannot write folder."),
        (["--html", "none/page.html", "x.py"], "cannot write none/page.html."),
        (["--timeline", "folder", "x.py"], "cannot write folder."),
        (
            ["--ignore", "WF6O1", "x.py"],
            "there is no finding 'WF6O1' to ignore. Did you mean WF601",
        ),
    ],
)
def test_a_command_that_means_nothing_is_usage(
    tmp_path: Path, words: list[str], sentence: str
) -> None:
    (tmp_path / "folder").mkdir()

    ours = wellfed(tmp_path, "diagnose", *words)

    assert ours.code == 2
    assert f"wellfed: {sentence}" in ours.told
    assert ours.said == ""
    assert ours.out == ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot read report.json: No such file or directory."),
        ("", "report.json is not a wellfed file"),
        ('{"wellfed_schema": 1', "report.json is not a wellfed file"),
        ('{"loss": 3.1}', "report.json is not a wellfed file"),
        (json.dumps({"wellfed_schema": 99, "kind": "Report", "record": {}}), "Upgrade it"),
        (json.dumps({"wellfed_schema": 1, "kind": "Plan", "record": {}}), "holds a Plan"),
        (json.dumps({"wellfed_schema": 1, "kind": "Report", "record": {}}), "is damaged"),
    ],
)
def test_a_report_that_cannot_be_read_is_usage(
    tmp_path: Path, text: str | None, sentence: str
) -> None:
    if text is not None:
        (tmp_path / "report.json").write_text(text)

    ours = wellfed(tmp_path, "report", "report.json")

    assert ours.code == 2
    assert sentence in ours.told
    assert ours.said == ""


# -- no verdict: 3


def test_a_script_without_a_loader_is_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import torch\nprint('trained')\n")

    ours = diagnose(tmp_path, "train.py")

    assert (ours.code, ours.out, ours.said) == (3, "trained\n", "")
    assert "no torch.utils.data.DataLoader was iterated" in ours.told


def test_an_empty_dataset_is_no_verdict(tmp_path: Path) -> None:
    ours = diagnose(tmp_path, str(BAD), "empty")

    assert (ours.code, ours.out, ours.said) == (3, "", "")
    assert f"the DataLoader built at {line_marked(BAD, '# empty')} gave 0 batches" in ours.told


# -- the script's own failure: its own code


def test_a_script_that_fails_after_a_while_fails_and_is_judged(tmp_path: Path) -> None:
    ours = diagnose(tmp_path, str(BAD), "raises")

    assert ours.code == 1
    assert ours.said.endswith("ArithmeticError: the loss is not a number\n")
    assert ours.said.count('File "') == 2
    assert "VERDICT" in ours.out
    assert str(ours.report.trace.site) == line_marked(BAD, "# raises")
    assert ours.report.trace.ended_because == "finished"
    assert len(ours.report.trace.spans) == 61


def test_a_worker_that_dies_is_the_failure_that_torch_makes_of_it(tmp_path: Path) -> None:
    ours = diagnose(tmp_path, str(BAD), "worker dies")

    assert ours.code == 1
    assert "RuntimeError: DataLoader worker (pid" in ours.said
    assert "wellfed" not in ours.said.replace(str(SCRIPTS), "")
    assert str(ours.report.trace.site) == line_marked(BAD, "# worker dies")
    assert len(ours.report.trace.spans) >= 80


# -- what it says of itself


@pytest.mark.parametrize(
    ("options", "end"),
    [
        ([], "it will be stopped after at most 60 s."),
        (["--seconds", "9", "--steps", "5"], "it will be stopped after at most 9 s or 5 batches."),
        (["--full"], "it will run to its end."),
    ],
)
def test_the_first_line_says_how_the_script_will_end(
    tmp_path: Path, options: list[str], end: str
) -> None:
    (tmp_path / "train.py").write_text("")

    ours = wellfed(tmp_path, "diagnose", *options, "train.py", "--epochs", "2")

    first = ours.told.splitlines()[0]
    assert first.startswith("wellfed: running train.py --epochs 2 for real")
    assert first.endswith(end)


def test_only_the_first_rank_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    (tmp_path / "train.py").write_text("")

    assert wellfed(tmp_path, "diagnose", "train.py").told == ""
