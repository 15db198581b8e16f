"""How well the model foresees settings that were not tried, and the memory they take.

    python benchmarks/prediction.py [LOAD ...] [--seconds 0.5] [--runs FOLDER] [--write]
    python benchmarks/prediction.py --memory [LOAD ...]
    python benchmarks/prediction.py --runs FOLDER --seconds 0      score what was measured before

Of each load, four settings of torch's loader are run watched: no workers, 1 with prefetch factor 4,
2 and 6 with 2. From these alone every other setting is predicted: workers 0, 1, 2, 3, 4, 6 by
prefetch factors 1, 2, 4, and our own engine with 1, 2 and 4 workers. All of them are then run
unwatched, twice, in an order of chance and back. What two runs of one setting differ by stands
beside the error: a prediction cannot be shown to be better than that. Runs during which other
processes kept more than 0.15 of a core busy are left out, and probes are repeated.

With --runs, what was measured stays in the folder and adds up over calls.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from predicting.loads import LOADS
from predicting.scores import Disturbed, MemoryScore, Score, forecast_memory, foresee, read, table

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "accuracy.md"
BEGIN, END = "<!-- predictions: begin -->\n", "<!-- predictions: end -->\n"


def run(load: str, seconds: float, seed: int, memory: bool, folder: Path) -> None:
    """Measure one load in a fresh process; its lines are kept in the folder."""
    order = {"load": load, "seconds": seconds, "seed": seed, "memory": memory}
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path[1:]])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "predicting.measuring", json.dumps(order)],
        check=False,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    if done.returncode == 0:
        kind = "memory" if memory else "runs"
        (folder / f"{load}.{kind}.{seed}.jsonl").write_bytes(done.stdout)
    else:
        print(f"left out: {load} ended with code {done.returncode}", file=sys.stderr)


def show(scores: list[Score]) -> None:
    for one in scores:
        runs = ", ".join(f"{1000 * period:.3f}" for period in one.measured_s)
        print(
            f"{one.load:12s} {one.cell!s:12s} foreseen {1000 * one.foreseen.value:8.3f} ms"
            f" ({1000 * one.foreseen.low:.3f} to {1000 * one.foreseen.high:.3f})"
            f"  measured {runs}  {100 * one.error:+6.1f} %{'' if one.inside else '  outside'}"
        )


def show_memory(scores: list[MemoryScore]) -> None:
    for one in scores:
        print(
            f"{one.load:12s} {one.cell!s:12s} forecast {one.forecast_bytes / 1e6:7.0f} MB more,"
            f" measured {(one.peak_bytes - one.before_bytes) / 1e6:7.0f};"
            f" of all {one.peak_bytes / 1e6:7.0f} MB: {100 * one.error:+5.1f} %"
        )
    total = np.abs([one.error for one in scores])
    added = np.abs([one.added_error for one in scores])
    print(
        f"memory of all processes: median error {100 * np.median(total):.1f} %, 90 % within "
        f"{100 * np.quantile(total, 0.9):.1f} %, {100 * np.mean(total <= 0.15):.0f} % of "
        f"{len(scores)} within 15 %; of what the loader adds: median {100 * np.median(added):.0f} %"
    )


def write(scores: list[Score]) -> None:
    """Replace the table in the page."""
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table(scores)}\n{END}{after}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("load", nargs="*", help=f"of {', '.join(LOADS)}; default: all")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each window; 0: run nothing")
    parser.add_argument("--seed", type=int, default=0, help="of the order; another adds runs")
    parser.add_argument("--memory", action="store_true", help="look at memory, not at speed")
    parser.add_argument("--runs", type=Path, help="folder of what was measured, now and before")
    parser.add_argument("--json", type=Path, help="write the scores there")
    parser.add_argument("--write", action="store_true", help=f"bring {PAGE.name} up to date")
    args = parser.parse_args()
    unknown = set(args.load) - set(LOADS)
    if unknown:
        parser.error(f"no load {', '.join(unknown)}; there are {', '.join(LOADS)}")
    return args


def main() -> None:
    args = arguments()
    loads = args.load or list(LOADS)
    with tempfile.TemporaryDirectory() as own:
        folder = args.runs or Path(own)
        folder.mkdir(parents=True, exist_ok=True)
        if args.seconds:
            for load in loads:
                run(load, args.seconds, args.seed, args.memory, folder)
        kind = "memory" if args.memory else "runs"
        files = [(load, file) for load in loads for file in sorted(folder.glob(f"{load}.{kind}.*"))]
        scores: list[Any] = []
        for load, file in files:
            try:
                cases, figures = read(file)
            except Disturbed as why:
                print(f"left out: {why}", file=sys.stderr)
                continue
            scores += (forecast_memory if args.memory else foresee)(load, cases, figures)
    if args.memory:
        show_memory(scores)
        return
    show(scores)
    torchs = [one for one in scores if one.cell.way == "torch"]
    ours = [one for one in scores if one.cell.way == "ours"]
    print(f"\ntorch's loader\n\n{table(torchs)}\nour engine, from runs of torch's\n\n{table(ours)}")
    if args.json:
        told = [{**asdict(one), "foreseen": str(one.foreseen)} for one in scores]
        args.json.write_text(json.dumps(told, indent=1) + "\n")
    if args.write:
        write(torchs)


if __name__ == "__main__":
    main()
