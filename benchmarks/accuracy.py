"""How often a diagnosis is right: planted runs, drawn from a seed, each held against an oracle.

    python benchmarks/accuracy.py [--seed N] [--rounds N] [--only PATTERN] [--for SECONDS]
                                  [--json FILE] [--reports DIR] [--write] [--show]

A round holds every cause that is planted once, each at another severity than in the round before,
and three controls, in which there is nothing to fix. A run is a plain training script in a process
of its own, `planted/train.py`, under `wellfed diagnose`. What is right is measured after it, not
believed: the oracle runs the same loop as it was, without what was planted, with data that costs
nothing, and with the first remedy of the report applied, in turn.

With `--json`, runs are added to those that the file holds, which are not run again: so it may be
called piece by piece, `--for` so many seconds each time. A run beside which other programs were
busy is not counted, whatever came out of it, and drawn again by the next call. `--reports` keeps
the report of each run whose verdict or predicted gain was not right. `--write` puts what the file
holds into the page docs/explanation/accuracy.md.
Quotas and slow disks are made by control groups of version 1, and left out where they cannot be.
"""

import argparse
import contextlib
import fnmatch
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from planted import quiet
from planted.drawing import Planted, Sizes, drawn
from planted.limits import inside, may_limit, prepared
from planted.outcome import Outcome, ends, first_remedy, label, mean, remedied, share_in_next
from planted.page import machine, page_with, right_answer, tables, told
from planted.recipe import Recipe, dumped
from planted.scoring import is_close
from planted.works import calibrated_s

from wellfed.records import Remedy, Report, load

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "explanation" / "accuracy.md"
WATCH_S = 8.0
WINDOW_S = 0.7
PATIENCE_S = 90.0
COMMAND = "python benchmarks/accuracy.py --seed {seed} --rounds {rounds}"


def diagnosed(recipe: Recipe, file: Path) -> tuple[Report | None, float]:
    """The report on the run, and how long it took to have it."""
    command = [sys.executable, "-m", "wellfed", "diagnose", "--seconds", f"{WATCH_S:g}"]
    command += ["--json", str(file), "-m", "planted.train", dumped(recipe)]
    began = time.perf_counter()
    ran = subprocess.run(
        inside(recipe.groups, command), cwd=HERE, capture_output=True, timeout=PATIENCE_S
    )
    took_s = time.perf_counter() - began
    if not file.exists():
        print(ran.stderr.decode()[-2000:], file=sys.stderr)
        return None, took_s
    return load(file), took_s


@contextlib.contextmanager
def oracle() -> Iterator[subprocess.Popen[str]]:
    """The oracle's process, that waits for what to measure: torch is imported meanwhile."""
    process = subprocess.Popen(
        [sys.executable, "-m", "planted.arms", f"{WINDOW_S:g}"],
        cwd=HERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def measured(process: subprocess.Popen[str], arms: dict[str, Recipe]) -> dict[str, list[float]]:
    """The oracle's measurements."""
    text = json.dumps({name: asdict(recipe) for name, recipe in arms.items()})
    said, wrong = process.communicate(text, timeout=PATIENCE_S)
    if process.returncode:
        raise RuntimeError(wrong[-2000:])
    rates: dict[str, list[float]] = json.loads(said)
    return rates


def run(one: Planted, keep: Path | None) -> tuple[Outcome, dict[str, list[float]]]:
    """Diagnose one drawn run, measure what is right, and compare."""
    began = quiet.now()
    with tempfile.TemporaryDirectory() as folder, prepared(one.planted) as planted:
        with oracle() as process:
            report, seconds = diagnosed(planted, Path(folder) / "report.json")
            arms = arms_of(one, planted, first_remedy(report) if report is not None else None)
            rates = measured(process, arms)
        others = quiet.cores_of_others(began, quiet.now())
        outcome = replace(_outcome(one, report, seconds, rates), cores_of_others=round(others, 3))
        if keep is not None and report is not None and is_off(outcome):
            keep.mkdir(parents=True, exist_ok=True)
            stem = f"{one.key.replace('/', '-')}-{outcome.verdict}"
            report.save(str(keep / f"{stem}.json.gz"))
            (keep / f"{stem}.outcome.json").write_text(
                json.dumps({**asdict(outcome), "rates": rates, "recipe": asdict(planted)}, indent=1)
            )
        return outcome, rates


def arms_of(one: Planted, planted: Recipe, remedy: Remedy | None) -> dict[str, Recipe]:
    """The variants that the oracle compares."""
    arms = {"planted": planted, "free": planted}
    if one.cured is not None:
        arms["cured"] = replace(
            one.cured,
            unit_s=planted.unit_s,
            folder=planted.folder,
            groups=planted.groups if one.cured.quota_cores else (),
        )
    mended = remedied(planted, remedy) if remedy is not None else None
    if mended is not None:
        arms["mended"] = mended
    return arms


def is_off(outcome: Outcome) -> bool:
    """Whether its verdict or its predicted gain was not right."""
    if outcome.verdict != right_answer(outcome):
        return True
    if outcome.predicted is None or outcome.measured is None:
        return False
    return not is_close(outcome.predicted[0], outcome.measured)


def _outcome(
    one: Planted, report: Report | None, seconds: float, rates: dict[str, list[float]]
) -> Outcome:
    what = label(one.cause, rates)
    outcome = Outcome(
        key=one.key,
        cause=one.cause,
        severity=one.severity,
        label=what.name,
        plant_cost=round(what.plant_cost, 4),
        data_cost=round(what.data_cost, 4),
        verdict="no report",
        seconds=round(seconds, 2),
    )
    if report is None:
        return outcome
    remedy = first_remedy(report)
    return replace(
        outcome,
        verdict=report.verdict.name,
        findings=tuple(finding.name for finding in report.verdict.findings),
        share_in_next=round(share_in_next(report), 4),
        watched_s=round(report.trace.ended_ns * 1e-9, 2),
        remedy=remedy.change if remedy is not None else "",
        predicted=ends(remedy.gain) if remedy is not None and remedy.gain is not None else None,
        measured=mean(rates["mended"]) / mean(rates["planted"]) if "mended" in rates else None,
    )


def cores() -> int:
    return len(os.sched_getaffinity(0))


def machine_here() -> Sizes:
    return Sizes(cores=cores(), may_limit=may_limit())


def calibrated(one: Planted, units_s: dict[bool, float]) -> Planted:
    """The run with its CPU work counted in units of this machine."""
    unit_s = units_s[bool(one.planted.sizes.get("interpreted"))]
    return replace(one, planted=replace(one.planted, unit_s=unit_s))


def earlier(file: Path | None) -> dict[str, Any]:
    """What the file holds."""
    if file is None or not file.exists():
        return {"runs": [], "disturbed": []}
    held: dict[str, Any] = json.loads(file.read_text())
    return held


def outcomes(runs: list[dict[str, Any]]) -> list[Outcome]:
    return [
        Outcome(
            **{
                **{name: value for name, value in run.items() if name != "rates"},
                "findings": tuple(run["findings"]),
                "predicted": tuple(run["predicted"]) if run["predicted"] else None,
            }
        )
        for run in runs
    ]


def pending(args: argparse.Namespace, held: dict[str, Any]) -> list[Planted]:
    """The runs asked for that the file does not hold; those that were disturbed come last."""
    done = {run["key"] for run in held["runs"]}
    disturbed = Counter(run["key"] for run in held["disturbed"])
    runs = [
        one
        for one in drawn(args.seed, args.rounds, machine_here())
        if one.key not in done and fnmatch.fnmatch(one.key, args.only)
    ]
    return sorted(runs, key=lambda one: disturbed[one.key])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="*", help='a pattern of keys: "*/latency_bound", "0/*"')
    parser.add_argument(
        "--for", dest="seconds", type=float, default=float("inf"), help="end by then, about"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--reports", type=Path)
    parser.add_argument("--write", action="store_true", help="put the file's runs into the docs")
    parser.add_argument("--show", action="store_true", help="run nothing, show the file's runs")
    args = parser.parse_args()
    began = time.perf_counter()
    held = earlier(args.json)
    if held["runs"] and held["seed"] != args.seed:
        parser.error(f"{args.json} holds runs of seed {held['seed']}: give another file")
    units_s: dict[bool, float] = {}
    longest_s = 0.0
    for one in () if args.show or args.write else pending(args, held):
        started = time.perf_counter()
        if started - began + longest_s > args.seconds:
            break
        units_s = units_s or {kind: calibrated_s(kind) for kind in (False, True)}
        outcome, rates = run(calibrated(one, units_s), args.reports)
        held |= {
            "seed": args.seed,
            "rounds": args.rounds,
            "date": time.strftime("%Y-%m-%d"),
            "machine": machine(),
        }
        disturbed = quiet.is_disturbed(outcome.cores_of_others, cores())
        held["disturbed" if disturbed else "runs"].append({**asdict(outcome), "rates": rates})
        if args.json is not None:
            args.json.write_text(json.dumps(held, indent=1) + "\n")
        longest_s = max(longest_s, time.perf_counter() - started)
        print(told(outcome), "(disturbed: to be run again)" if disturbed else "", flush=True)
    if args.write:
        facts = {
            "date": held["date"],
            "machine": held["machine"],
            "command": COMMAND.format(**held),
            "drawn": len(list(drawn(args.seed, held["rounds"], machine_here()))),
        }
        text = tables(outcomes(held["runs"]), outcomes(held["disturbed"]), facts)
        PAGE.write_text(page_with(text, PAGE.read_text()))
    elif args.show:
        print("\n".join(told(one) for one in outcomes(held["runs"])))


if __name__ == "__main__":
    main()
