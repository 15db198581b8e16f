"""What the runs say of the predictions: errors, intervals that held, and the noise beside them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from predicting.measuring import DISTURBED_CORES, PROBES, Cell
from wellfed._insight.memory import memory_use
from wellfed._insight.probes import predict_from
from wellfed.records import Case, Estimate

__all__ = ["Disturbed", "MemoryScore", "Score", "forecast_memory", "foresee", "read", "table"]


@dataclass(frozen=True)
class Score:
    """One cell: foreseen, and measured as often as it was."""

    load: str
    cell: Cell
    foreseen: Estimate
    measured_s: tuple[float, ...]

    @property
    def truth_s(self) -> float:
        """The mean of the runs."""
        return sum(self.measured_s) / len(self.measured_s)

    @property
    def error(self) -> float:
        """Relative, of the prediction."""
        return self.foreseen.value / self.truth_s - 1

    @property
    def inside(self) -> bool:
        """Whether the interval holds the mean."""
        return self.foreseen.low <= self.truth_s <= self.foreseen.high

    @property
    def noise(self) -> float:
        """What two runs of the same cell differ by, relative to their mean."""
        if len(self.measured_s) < 2:
            return 0.0
        return (max(self.measured_s) - min(self.measured_s)) / self.truth_s


@dataclass(frozen=True)
class MemoryScore:
    """One cell's memory: forecast, and at its peak."""

    load: str
    cell: Cell
    forecast_bytes: float
    peak_bytes: float
    before_bytes: float

    @property
    def error(self) -> float:
        """Relative, of all processes together."""
        return (self.forecast_bytes + self.before_bytes) / self.peak_bytes - 1

    @property
    def added_error(self) -> float:
        """Relative, of what the loader adds."""
        return self.forecast_bytes / max(1.0, self.peak_bytes - self.before_bytes) - 1


class Disturbed(Exception):
    """Other processes took part of the cores while a probe ran."""


def read(path: Path) -> tuple[list[Case], dict[Cell, list[dict[str, float]]]]:
    """The probes' cases and every cell's figures, of one file of runs.

    Raises:
        Disturbed: nothing can be predicted from such probes.
    """
    cases, figures = [], {}
    for line in path.read_text().splitlines():
        told = json.loads(line)
        kept = {"period_s": told["period_s"], "neighbour_cores": told["neighbour_cores"]}
        if not told["case"]:
            figures.setdefault(Cell(**told["cell"]), []).append({**kept, **told["memory_bytes"]})
            continue
        if kept["neighbour_cores"] > DISTURBED_CORES and not told["memory_bytes"]:
            raise Disturbed(f"{path.name}: {kept['neighbour_cores']:.1f} cores busy otherwise")
        cases.append(msgspec.json.decode(json.dumps(told["case"]), type=Case))
    return cases, figures


def foresee(
    load: str, cases: Sequence[Case], figures: dict[Cell, list[dict[str, float]]]
) -> list[Score]:
    """Every cell that was not probed, predicted from those that were; without disturbed runs."""
    quiet = {
        cell: tuple(one["period_s"] for one in runs if one["neighbour_cores"] <= DISTURBED_CORES)
        for cell, runs in figures.items()
        if cell not in PROBES
    }
    cells = [cell for cell, runs in quiet.items() if runs]
    rng = np.random.default_rng(0)
    foreseen = predict_from(cases, [cell.plan for cell in cells], rng)
    return [
        Score(load, cell, period, quiet[cell]) for cell, period in zip(cells, foreseen, strict=True)
    ]


def forecast_memory(
    load: str, cases: Sequence[Case], figures: dict[Cell, list[dict[str, float]]]
) -> list[MemoryScore]:
    """The same for memory."""
    return [
        MemoryScore(
            load=load,
            cell=cell,
            forecast_bytes=memory_use(cases, cell.plan).total_bytes,
            peak_bytes=look["total_bytes"],
            before_bytes=look["before_bytes"],
        )
        for cell, looks in figures.items()
        for look in looks
        if cell not in PROBES and "total_bytes" in look
    ]


def table(scores: Sequence[Score]) -> str:
    """A row a load, and one for all."""
    lines = [
        "| Load | Cells | Median error | 90 % of errors within | Intervals that held "
        "| Two runs differ by, median | 90 % within |",
        "| --- |" + " --- |" * 6,
    ]
    loads = list(dict.fromkeys(score.load for score in scores))
    lines += [_row(load, [one for one in scores if one.load == load]) for load in loads]
    if len(loads) > 1:
        lines.append(_row("all", scores))
    return "\n".join(lines) + "\n"


def _row(name: str, scores: Sequence[Score]) -> str:
    errors = np.abs([score.error for score in scores])
    noise = _array(score.noise for score in scores if len(score.measured_s) > 1)
    held = np.mean([score.inside for score in scores])
    cells = [
        name,
        str(len(scores)),
        _percent(np.median(errors)),
        _percent(np.quantile(errors, 0.9)),
        f"{100 * held:.0f} %",
        _percent(np.median(noise)) if noise.size else "",
        _percent(np.quantile(noise, 0.9)) if noise.size else "",
    ]
    return f"| {' | '.join(cells)} |"


def _array(values: Iterable[float]) -> NDArray[np.float64]:
    return np.array(list(values), dtype=np.float64)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
