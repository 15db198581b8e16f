"""The walls stand, and each of them can fall: a planted import makes its contract fail."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[3]
PYPROJECT = ROOT / "pyproject.toml"
CONTRACTS = re.findall(
    r'^\[\[tool\.importlinter\.contracts\]\]\nname = "(.+)"$', PYPROJECT.read_text(), re.MULTILINE
)


class Plant(NamedTuple):
    """An import that one contract forbids."""

    contract: str
    """The first words of its name."""
    file: str
    line: str


PLANTS = [
    # upwards, sideways in each direction that tempts, and over a floor's head
    Plant("One way", "records/planted.py", "import wellfed.job"),
    Plant("One way", "errors.py", "import wellfed.records.plan"),
    Plant("One way", "_engine/planted.py", "import wellfed._insight"),
    Plant("One way", "_report/planted.py", "import wellfed._insight"),
    Plant("One way", "_insight/planted.py", "import wellfed._report"),
    Plant("One way", "_probes/planted.py", "import wellfed._api"),
    # a clock, a file, the dice
    Plant("Thinking touches nothing", "_insight/planted.py", "import time"),
    Plant("Thinking touches nothing", "_insight/rules/planted.py", "from pathlib import Path"),
    Plant("Thinking touches nothing", "_insight/planted.py", "import random"),
    # at the top, and inside a function
    Plant("A saved report opens", "_report/planted.py", "import torch"),
    Plant("A saved report opens", "records/planted.py", "def f(): import torch.utils.data"),
    Plant("Integrations use the door", "integrations/planted.py", "import wellfed._attach"),
    Plant("Showing never measures", "_report/planted.py", "import psutil"),
]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """The contracts of this repository, held against the package in `folder`."""
    code = "import sys; from importlinter.cli import lint_imports_command as c; c()"
    command = [sys.executable, "-c", code, "--config", str(PYPROJECT), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def broken(output: str) -> list[str]:
    """Names of the contracts that failed."""
    return re.findall(r"^(.+) BROKEN\b", output, re.MULTILINE)


def test_the_walls_stand() -> None:
    done = lint(ROOT / "src")

    assert done.returncode == 0, done.stdout
    assert f"{len(CONTRACTS)} kept, 0 broken" in done.stdout


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: f"{plant.file}: {plant.line}")
def test_a_planted_import_breaks_its_contract(tmp_path: Path, plant: Plant) -> None:
    shutil.copytree(ROOT / "src" / "wellfed", tmp_path / "wellfed")
    with (tmp_path / "wellfed" / plant.file).open("a") as file:
        file.write(f"\n{plant.line}\n")

    done = lint(tmp_path)

    assert done.returncode == 1, done.stdout
    assert any(name.startswith(plant.contract) for name in broken(done.stdout)), done.stdout


def test_every_contract_has_a_plant() -> None:
    assert CONTRACTS
    for name in CONTRACTS:
        assert any(name.startswith(plant.contract) for plant in PLANTS), name
