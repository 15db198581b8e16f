"""Writes the golden cards anew: look at each difference before you commit it.

Run: python tests/golden/cards/make_cards.py
"""

import importlib.util
from pathlib import Path
from types import ModuleType

from wellfed._report.text import render_text
from wellfed.records import Report

HERE = Path(__file__).parent
REPORTS = Path(__file__).parents[2] / "unit" / "report" / "reports.py"


def reports() -> dict[str, Report]:
    """The reports that have a golden card, by the card's name."""
    made = script(REPORTS)
    return {
        "cpu_underprovisioned": made.STARVED,
        "consumer_bound": made.FED,
        "too_noisy": made.NOISY,
    }


def script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    for name, report in reports().items():
        (HERE / f"{name}.txt").write_text(render_text(report), encoding="utf-8")
