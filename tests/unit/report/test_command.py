"""The command in a report runs the same again, and the card can make it last longer."""

from typing import Any

import msgspec
import pytest
from reports import NOISY

from wellfed._attach import Limits
from wellfed._cli.diagnosing import SECONDS, _again, _confirm
from wellfed._report.prose import watch_longer

USUAL = Limits(seconds=SECONDS)


@pytest.mark.parametrize(
    ("limits", "module", "script", "expected"),
    [
        (USUAL, None, ["train.py", "--epochs", "1"], "train.py --epochs 1"),
        (USUAL, "pack.train", ["-v"], "-m pack.train -v"),
        (Limits(seconds=9.0, steps=5), None, ["x.py"], "--seconds 9 --steps 5 x.py"),
        (Limits(seconds=SECONDS, full=True), "x", [], "--full -m x"),
    ],
)
def test_it_says_what_was_not_as_usual(
    limits: Limits, module: str | None, script: list[str], expected: str
) -> None:
    assert _again(limits, module, script) == ["wellfed", "diagnose", *expected.split()]


@pytest.mark.parametrize(
    ("limits", "module", "script", "expected"),
    [
        (USUAL, None, ["train.py", "--epochs", "1"], "train.py --epochs 1"),
        (USUAL, None, ["my train.py"], "'my train.py'"),
        (USUAL, "pack.train", ["-v"], "-m pack.train -v"),
        (Limits(seconds=10.0), None, ["train.py", "--seconds", "5"], "train.py --seconds 5"),
        (Limits(seconds=10.0, steps=50), "pack.train", [], "-m pack.train"),
    ],
)
def test_the_card_proposes_it_for_longer(
    limits: Limits, module: str | None, script: list[str], expected: str
) -> None:
    report = msgspec.structs.replace(NOISY, command=tuple(_again(limits, module, script)))

    assert watch_longer(report) == f"wellfed diagnose --seconds 120 {expected}"


def test_longer_is_at_least_twice_as_long() -> None:
    command = tuple(_again(Limits(seconds=100.0), None, ["train.py"]))
    trace = msgspec.structs.replace(NOISY.trace, ended_ns=100 * 10**9)

    longer = watch_longer(msgspec.structs.replace(NOISY, command=command, trace=trace))

    assert longer == "wellfed diagnose --seconds 240 train.py"


def test_a_script_that_was_watched_to_its_end_has_to_run_longer_itself() -> None:
    command = tuple(_again(Limits(seconds=SECONDS, full=True), None, ["train.py"]))

    longer = watch_longer(msgspec.structs.replace(NOISY, command=command))

    assert "wellfed diagnose" not in longer
    assert "more epochs" in longer


def test_without_a_command_a_script_is_stood_for() -> None:
    report = msgspec.structs.replace(NOISY, command=())

    assert watch_longer(report) == "wellfed diagnose --seconds 120 train.py"


def test_a_deep_run_is_proposed_as_a_deep_one() -> None:
    command = tuple(_again(Limits(seconds=9.0), None, ["train.py"], deep=True))

    longer = watch_longer(msgspec.structs.replace(NOISY, command=command))

    assert longer == "wellfed diagnose --seconds 120 --deep train.py"


def test_ctrl_c_during_experiments_leaves_what_watching_showed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Interrupted:
        def confirm(self, *_: object, **__: object) -> None:
            raise KeyboardInterrupt

    observation: Any = Interrupted()

    assert _confirm(observation, NOISY) is NOISY
    assert "experiments interrupted" in capsys.readouterr().err
