"""How often the example scripts get the right verdict, each run in a process of its own.

    python benchmarks/verdicts.py [--runs 20] [--seconds 20]

The right verdict of each script is known from how it is written. `too_noisy` is an honest answer on
a busy machine; another resource's name is a wrong one.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from wellfed.records import load

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

RIGHT = {
    "train_images.py": "cpu_underprovisioned",
    "train_tensors.py": "per_item_overhead",
    "train_tensors.py --workers 4 --prefetch 2": "in_memory_overhead",
    "train_tensors.py --workers 2 --pin-memory": "in_memory_overhead",
    "train_remote.py": "latency_bound",
    "train_big_model.py": "consumer_bound",
}


def verdict(script: str, seconds: float) -> str:
    """The name of the verdict on one fresh run."""
    name, *options = script.split()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "wellfed", "diagnose", "--seconds", f"{seconds:g}"]
        command += ["--json", str(report), str(EXAMPLES / name), "--epochs", "50", *options]
        subprocess.run(command, check=False, capture_output=True)
        return load(report).verdict.name if report.exists() else "no report"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    seen: dict[str, Counter[str]] = {script: Counter() for script in RIGHT}
    # In turn, so that a busy quarter of an hour does not fall on one script alone.
    for run in range(args.runs):
        for script in RIGHT:
            name = verdict(script, args.seconds)
            seen[script][name] += 1
            print(f"round {run + 1} of {args.runs}: {script}: {name}", file=sys.stderr)
    for script, names in seen.items():
        right, noisy = names[RIGHT[script]], names["too_noisy"]
        wrong = {name: n for name, n in names.items() if name not in (RIGHT[script], "too_noisy")}
        print(
            f"{script:44s} {RIGHT[script]:22s} right {right:2d} of {args.runs}, "
            f"too noisy {noisy}, wrong {wrong or 0}"
        )


if __name__ == "__main__":
    main()
