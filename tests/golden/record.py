"""Record the golden traces: run each scenario for real, and save its report.

    python tests/golden/record.py [--folder DIR] [--repeat N] [SCENARIO ...]

Run it on a quiet machine, as root for the scenarios that make control groups. Prints the verdict
of each run; a wrong one is recorded too, because the trace is the truth and the rule is not.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import torch

HERE = Path(__file__).parent
FEWEST_SECONDS, MOST_SECONDS = 5, 40

# Spans kept of each run: enough for every statistic, and files of some 20 KB.
MOST_SPANS = 400


def run_here(name: str, file: Path) -> None:
    """Run one scenario in this process and save its report."""
    sys.path.insert(0, str(HERE))
    from scenarios import ON_DEVICES, SCENARIOS

    from wellfed._attach import Limits, Observation

    scenario = (SCENARIOS | ON_DEVICES)[name]
    if scenario.ranks > 1:
        torch.distributed.init_process_group("gloo")
    with scenario.around() as given:
        with Observation(Limits(seconds=MOST_SECONDS, steps=scenario.steps)) as seen:
            loader = scenario.loader(given)
            for epoch in range(scenario.epochs):
                scenario.before_epoch(loader, epoch)
                for batch in loader:
                    scenario.step(batch)
        report = seen.diagnose([name])
    if os.environ.get("RANK", "0") != "0":
        return
    trace = report.trace
    kept = msgspec.structs.replace(
        trace,
        spans=trace.spans[-MOST_SPANS:],
        spans_dropped=trace.spans_dropped + max(0, len(trace.spans) - MOST_SPANS),
        site=trace.site and msgspec.structs.replace(trace.site, file="tests/golden/scenarios.py"),
        hot_lines=tuple(
            msgspec.structs.replace(line, file=Path(line.file).name) for line in trace.hot_lines
        ),
    )
    msgspec.structs.replace(report, trace=kept).save(str(file))
    verdict = report.verdict
    right = "right" if verdict.name == scenario.verdict else f"WRONG, not {scenario.verdict}"
    print(f"{name:22s} {verdict.name:24s} {right}   {verdict.abstains or verdict.headline}")


def main() -> None:
    """Run the scenarios, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--folder", type=Path, default=HERE / "traces")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.here:
        run_here(args.names[0], args.folder / f"{args.names[0]}.json.gz")
        return
    sys.path.insert(0, str(HERE))
    from scenarios import ON_DEVICES, SCENARIOS

    for _ in range(args.repeat):
        for name in args.names or SCENARIOS:
            command = [__file__, "--here", "--folder", str(args.folder), name]
            ranks = (SCENARIOS | ON_DEVICES)[name].ranks
            if ranks > 1:
                together = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
                command = [*together, str(ranks), *command]
            command = [sys.executable, *command]
            subprocess.run(command, check=False, timeout=120)


if __name__ == "__main__":
    main()
