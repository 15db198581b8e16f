"""The command in a report runs the same again, and the card can make it last longer."""

import msgspec
import pytest
from reports import NOISY

from wellfed._attach import Limits
from wellfed._cli import SECONDS, _again
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
    ("module", "script", "expected"),
    [
        (None, ["train.py", "--epochs", "1"], "train.py --epochs 1"),
        (None, ["my train.py"], "'my train.py'"),
        ("pack.train", ["-v"], "-m pack.train -v"),
    ],
)
def test_the_card_proposes_it_for_longer(
    module: str | None, script: list[str], expected: str
) -> None:
    report = msgspec.structs.replace(NOISY, command=tuple(_again(USUAL, module, script)))

    assert watch_longer(report) == f"wellfed diagnose --seconds 120 {expected}"
