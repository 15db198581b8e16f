"""How often the example scripts get the right verdict, each run in a process of its own.

    python benchmarks/verdicts.py [--runs 20] [--seconds 20] [--json FILE] [--reports DIR]

With `--json`, rounds are added to those already in the file, so that twenty may be run one by one.
With `--reports`, the report of each run that was not right is kept.

The right verdict of each script is known from how it is written. `too_noisy` is an honest answer on
a busy machine; another resource's name is a wrong one.
"""

import argparse
import json
import shutil
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


def verdict(script: str, seconds: float, keep: Path | None) -> str:
    """The name of the verdict on one fresh run; the report of one that is not right is kept."""
    name, *options = script.split()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "wellfed", "diagnose", "--seconds", f"{seconds:g}"]
        command += ["--json", str(report), str(EXAMPLES / name), "--epochs", "50", *options]
        subprocess.run(command, check=False, capture_output=True)
        if not report.exists():
            return "no report"
        called = load(report).verdict.name
        if keep is not None and called != RIGHT[script]:
            keep.mkdir(parents=True, exist_ok=True)
            number = len(list(keep.iterdir()))
            shutil.copy(report, keep / f"{number:03d}-{Path(name).stem}-{called}.json")
        return called


def earlier(file: Path | None) -> dict[str, Counter[str]]:
    """The verdicts that the file holds, by script."""
    told = json.loads(file.read_text()) if file is not None and file.exists() else {}
    return {script: Counter(told.get(script, {})) for script in RIGHT}


def show(seen: dict[str, Counter[str]]) -> None:
    for script, names in seen.items():
        right, noisy = names[RIGHT[script]], names["too_noisy"]
        wrong = {name: n for name, n in names.items() if name not in (RIGHT[script], "too_noisy")}
        print(
            f"{script:44s} {RIGHT[script]:22s} right {right:2d} of {names.total()}, "
            f"too noisy {noisy}, wrong {wrong or 0}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--reports", type=Path)
    args = parser.parse_args()
    seen = earlier(args.json)
    # In turn, so that a busy quarter of an hour does not fall on one script alone.
    for run in range(args.runs):
        for script in RIGHT:
            name = verdict(script, args.seconds, args.reports)
            seen[script][name] += 1
            print(f"round {run + 1} of {args.runs}: {script}: {name}", file=sys.stderr)
            if args.json is not None:
                args.json.write_text(json.dumps(seen, indent=2) + "\n")
    show(seen)


if __name__ == "__main__":
    main()
