"""`RESULTS.md`: one row and one section a workload; what people wrote in a section is kept."""

import os
import platform
import re
from datetime import date
from pathlib import Path
from typing import Any

import torch
from workloads import WORKLOADS

import wellfed
from contest.contender import Run
from contest.summary import Summary

__all__ = ["machine", "write"]

TITLE = """# What our loader gains

Written by `python benchmarks/engine.py --write`, a workload at a time; how it measures is said
there. The text under *Remarks* is written by hand and kept. "Limit" is a plain loop without any
loader, on every core at once where the work is not bound to the trainer. Memory is the proportional
set size of all processes beyond the trainer's own before it has a loader, CPU the time of all of
them for 1,000 samples; torch's best → ours.
"""
HEAD = (
    "| Workload | Aim | Torch's best | at | Ours | Ratio to the best | Limit | Extra memory "
    "| CPU, 1,000 samples | First batch | Shutdown |"
)
RULE = "|" + " --- |" * 11
ROW = re.compile(r"^\| \[(\w+)\]\(#.*$", re.MULTILINE)
SECTION = re.compile(r"^## (\w+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
REMARKS = "\n### Remarks: {name}\n"


def machine() -> dict[str, Any]:
    """Where and with what it was measured."""
    models = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "date": date.today().isoformat(),
        "cpus": len(os.sched_getaffinity(0)),
        "processor": models[0] if models else platform.machine(),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "wellfed": wellfed.__version__,
    }


def write(path: Path, summary: Summary) -> None:
    """Put one workload's row and section in the file."""
    text = path.read_text() if path.exists() else TITLE
    rows = {match[1]: match[0] for match in ROW.finditer(text)}
    sections = {match[1]: match[2] for match in SECTION.finditer(text)}
    name = summary.workload
    rows[name] = row(summary)
    marker = REMARKS.format(name=name)
    remarks = sections.get(name, "").partition(marker)[2].strip()
    sections[name] = f"\n{section(summary)}{marker}\n{remarks or '(none)'}\n\n"
    order = [one for one in WORKLOADS if one in rows]
    parts = [TITLE, HEAD, RULE, *(rows[one] for one in order), ""]
    # What benchmarks/soak.py writes stands in the same file, at its end.
    order += [one for one in sections if one == "soak"]
    parts += [f"## {one}\n{sections[one].rstrip()}\n" for one in order]
    path.write_text("\n".join(parts))


def row(summary: Summary) -> str:
    """The table's row."""
    none: Run = {}
    ours = summary.medians.get("ours", none)
    best = summary.medians.get(summary.best, none)
    plain = summary.medians.get("plain", none)
    aims = "; ".join(str(one) for one in WORKLOADS[summary.workload].targets)
    first = next((one for one in summary.scores if one.target.against == "best"), None)
    first = first or next(iter(summary.scores), None)
    cells = [
        f"[{summary.workload}](#{summary.workload})",
        aims,
        rate(best),
        summary.best.removeprefix("torch "),
        rate(ours),
        f"{first.ratio:.3g} ({first.low:.3g} to {first.high:.3g})" if first else "",
        rate(plain),
        both(best, ours, "extra_memory_bytes", 1e-6, "MB", 0),
        both(best, ours, "cpu_s_per_1000", 1e3, "ms", 2),
        both(best, ours, "first_batch_s", 1e3, "ms", 1),
        both(best, ours, "shutdown_s", 1e3, "ms", 1),
    ]
    return f"| {' | '.join(cells)} |"


def rate(run: Run) -> str:
    """Samples per second."""
    return f"{run['samples_per_s']:,.0f}/s" if run else ""


def both(best: Run, ours: Run, figure: str, factor: float, unit: str, digits: int) -> str:
    """Torch's figure and ours."""
    values = [
        f"{run[figure] * factor:,.{digits}f}" if figure in run else "?" for run in (best, ours)
    ]
    return f"{' → '.join(values)} {unit}"


def section(summary: Summary) -> str:
    """All that was measured of a workload."""
    where = " · ".join(f"{name} {value}" for name, value in machine().items())
    lines = [f"{WORKLOADS[summary.workload].about}. {summary.rounds} rounds; {where}.", ""]
    lines += [f"- {one}" for one in summary.scores]
    lines += [
        "",
        "| Contender | Samples/s | CPU ms, 1,000 samples | Extra memory MB | First batch ms |",
    ]
    lines[-1] += " Epoch start ms | Shutdown ms |"
    lines += ["|" + " --- |" * 7]
    for name, run in summary.medians.items():
        cells = [
            f"{run[figure] * factor:,.{digits}f}" if figure in run else ""
            for figure, factor, digits in (
                ("samples_per_s", 1, 0),
                ("cpu_s_per_1000", 1e3, 2),
                ("extra_memory_bytes", 1e-6, 0),
                ("first_batch_s", 1e3, 1),
                ("epoch_start_s", 1e3, 1),
                ("shutdown_s", 1e3, 1),
            )
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
