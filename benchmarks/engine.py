"""Our loader against torch's at the best of torch's own settings, in turn, on many workloads.

    python benchmarks/engine.py [WORKLOAD ...] [--rounds 5] [--seconds 3] [--json FILE] [--write]
    python benchmarks/engine.py big --plan backend=processes,workers=4,prefetch=2
    python benchmarks/engine.py --torch-only --json best.json     torch's best settings alone
    python benchmarks/engine.py --finalists best.json             start from those

Torch's best is looked for first (`contest/search.py`); its finalists, ours, the settings that a
target names, and a plain loop without any loader then run in turn, each in a fresh process, every
other round in the opposite order. A figure is the median over the rounds; a ratio is taken within
each round, against the finalist that was best over all of them, and shown with its lowest and
highest. A busy machine favours more workers: CPU seconds per sample is the sturdier figure.
"""

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from contest.contender import Contender, Failed, Run, named, torch_at
from contest.results import machine, write
from contest.rivals import RIVALS
from contest.search import Search, find_best
from contest.summary import Summary, summarise
from workloads import WORKLOADS, Setting

RESULTS = Path(__file__).with_name("RESULTS.md")


def contenders(name: str, search: Search, args: argparse.Namespace) -> list[Contender]:
    """All that run in turn: ours first."""
    workload = WORKLOADS[name]
    ours = Contender(
        workload=name,
        way="ours",
        setting=Setting(threads=args.threads),
        plan=workload.plan if args.plan is None else args.plan,
        loader=args.loader,
    )
    aimed_at = [one.against for one in workload.targets if one.against not in ("best", "limit")]
    settings = dict.fromkeys([*search.finalists, *(named(name, text) for text in aimed_at)])
    theirs = [torch_at(name, setting) for setting in settings]
    most = max(search.finalists, key=lambda one: one.workers)
    setting = replace(most, workers=max(2, most.workers), prefetch=most.prefetch or 2)
    # Where only the way of starting workers is compared, they have nothing to show.
    ways = [way for way in args.rival if way in RIVALS and not setting.method]
    rivals = [Contender(workload=name, way=way, setting=setting) for way in ways]
    return [ours, *theirs, Contender(workload=name, way="plain"), *rivals]


def in_turn(taking_part: list[Contender], rounds: int, seconds: float) -> dict[str, list[Run]]:
    """Every contender once a round. One that fails is out, and the reason is printed."""
    runs: dict[str, list[Run]] = {str(one): [] for one in taking_part}
    for number in range(rounds):
        for one in taking_part if number % 2 == 0 else reversed(taking_part):
            if str(one) not in runs:
                continue
            try:
                runs[str(one)].append(one.run(seconds))
            except Failed as why:
                print(f"  out: {why}", file=sys.stderr)
                del runs[str(one)]
    return runs


def plan(text: str) -> dict[str, Any]:
    """The fields of a plan from name=value,name=value."""
    pairs = dict(part.split("=", 1) for part in text.split(",") if part)
    numbers = {name: int(value) for name, value in pairs.items() if value.isdecimal()}
    truths = {name: value == "true" for name, value in pairs.items() if value in ("true", "false")}
    return {**pairs, **numbers, **truths}


def known(path: Path | None) -> dict[str, Any]:
    """What a file of an earlier run holds for each workload."""
    if path is None or not path.exists():
        return {}
    told: dict[str, Any] = json.loads(path.read_text())["workloads"]
    return told


def search_in(told: dict[str, Any]) -> Search:
    """A search as it was saved."""
    finalists = tuple(Setting(**one) for one in told["finalists"])
    return Search(finalists, told["seen"], tuple(told["skipped"]), told["failed"])


def save(path: Path, name: str, told: dict[str, Any]) -> None:
    """Put what was found of one workload in the file, beside the others."""
    everything = {**known(path), name: told}
    path.write_text(json.dumps({"machine": machine(), "workloads": everything}, indent=1) + "\n")


def show_search(name: str, search: Search) -> None:
    best = search.finalists[0]
    print(f"{name}: torch is best at {best}: {search.seen[str(best)]:,.0f} samples/s")
    print(f"  seen: {', '.join(f'{one}: {rate:,.0f}' for one, rate in search.seen.items())}")
    if search.skipped:
        print(f"  skipped, far off at prefetch 2: {', '.join(search.skipped)}")
    for why in search.failed.values():
        print(f"  failed: {why}")


def show(summary: Summary) -> None:
    for name, figures in summary.medians.items():
        print(
            f"  {name:24s} {figures['samples_per_s']:12,.0f} samples/s"
            f" {figures['cpu_s_per_1000'] * 1000:10.2f} ms CPU/1000"
            f" {figures.get('extra_memory_bytes', 0) / 1e6:8.0f} MB more"
            f" first {figures.get('first_batch_s', 0) * 1000:7.1f} ms"
            f" epoch {figures.get('epoch_start_s', 0) * 1000:7.1f} ms"
            f" end {figures.get('shutdown_s', 0) * 1000:6.1f} ms"
        )
    for one in summary.scores:
        print(f"  {one}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workload", nargs="*", help=f"of {', '.join(WORKLOADS)}; default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of each timed window")
    parser.add_argument("--json", type=Path, help="results, by workload; others in it are kept")
    parser.add_argument("--finalists", type=Path, help="such a file, to spare the search")
    parser.add_argument("--torch-only", action="store_true", help="only look for torch's best")
    parser.add_argument("--plan", type=plan, help="name=value,...: instead of the workload's own")
    parser.add_argument("--threads", type=int, default=1, help="of the trainer with our loader")
    parser.add_argument("--loader", default="wellfed:DataLoader", help="module:class of ours")
    parser.add_argument("--rival", action="append", default=[], help=f"of {', '.join(RIVALS)}")
    parser.add_argument("--write", action="store_true", help=f"bring {RESULTS.name} up to date")
    args = parser.parse_args()
    for way in set(args.rival) - set(RIVALS):
        print(f"skipped: {way} is not installed; there are {', '.join(RIVALS)}", file=sys.stderr)
    unknown = set(args.workload) - set(WORKLOADS)
    if unknown:
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    return args


def main() -> None:
    args = arguments()
    found = known(args.finalists)
    for name in args.workload or WORKLOADS:
        # The search warms up longer than it measures: a third of the window is enough for it.
        saved = found.get(name)
        search = search_in(saved["search"]) if saved else find_best(name, args.seconds / 2)
        show_search(name, search)
        told: dict[str, Any] = {"search": asdict(search)}
        if not args.torch_only:
            runs = in_turn(contenders(name, search, args), args.rounds, args.seconds)
            summary = summarise(name, search, runs)
            show(summary)
            told |= {"runs": runs, "summary": asdict(summary)}
            if args.write:
                write(RESULTS, summary)
        if args.json:
            save(args.json, name, told)


if __name__ == "__main__":
    main()
