"""Ten thousand batches while everything goes wrong: every byte is checked, and memory stays flat.

    python benchmarks/soak.py [--batches 10000] [--seed 0] [--only CASE ...] [--json FILE] [--write]

While each case is loaded, at random moments: a random worker is killed, the plan changes, and
batches are kept for a while and then looked at again. Each batch is compared with the same batch
of torch's own loader (of wellfed's, undisturbed, where randomness is by position, as in no torch).
Memory is looked at every fifty batches: the trainer's resident size, the workers' proportional one,
slabs, open files. A slope has a 90 % interval; "flat" means that it holds zero, or is below 1 % of
the amount in 1,000 batches.

What the installed wellfed cannot do is found out by trying, and said. With --write, the table goes
into RESULTS.md and docs/explanation/limits.md.
"""

import argparse
import json
import os
import platform
import random
import signal
import time
import warnings
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch
from soaking.cases import BATCH, BATCHES, CASES, Case
from soaking.features import Features, find
from soaking.flatness import Slope, slope
from torch.utils.data import DataLoader

import wellfed
from wellfed.errors import UsageError
from wellfed.records import Plan

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "benchmarks" / "RESULTS.md", ROOT / "docs" / "explanation" / "limits.md")
BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"

MEMORY_LIMIT = 300_000_000
KEPT = 64
"""Batches that are kept at once: 32 MiB of them."""
EVERY = 60
"""Batches between two things that go wrong, on average."""
LOOK_EVERY = 50
SERIES = ("trainer_rss", "workers_pss", "slabs", "files")


@dataclass
class Soaked:
    """What came of one case."""

    name: str
    batches: int = 0
    wrong: int = 0
    epochs: int = 0
    kills: int = 0
    raised: int = 0
    """Deaths that raised, as they must where a worker's state is lost."""
    failures: list[str] = field(default_factory=list)
    switches: int = 0
    refused: int = 0
    seconds: float = 0.0
    at: list[int] = field(default_factory=list)
    seen: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SERIES})

    @property
    def passed(self) -> bool:
        """Whether every batch was right, and nothing failed that should not."""
        return not self.wrong and not self.failures


def checksum(batch: torch.Tensor) -> int:
    return zlib.crc32(batch.numpy().tobytes())


def reference(case: Case, seed: int) -> list[int]:
    """Checksums of an epoch that nothing disturbs."""
    torch.manual_seed(seed)
    if case.workers == "auto":
        loader: Any = wellfed.DataLoader(case.dataset(), BATCH, shuffle=True, num_workers="auto")
    else:
        loader = DataLoader(case.dataset(), BATCH, num_workers=int(case.workers), **_shuffled(case))
    return [checksum(batch) for batch in loader]


def _shuffled(case: Case) -> dict[str, Any]:
    return {} if case.name == "iterable" else {"shuffle": True}


def soak(case: Case, batches: int, seed: int, can: Features) -> Soaked:
    """One case, for so many batches."""
    came, chance = Soaked(case.name), random.Random(f"{seed} {case.name}")
    right = reference(case, seed)
    kept: deque[tuple[torch.Tensor, int]] = deque()
    began_s = time.monotonic()
    while came.batches < batches:
        came.epochs += 1
        torch.manual_seed(seed)
        options: dict[str, Any] = {can.tunes: True} if can.tunes else {}
        loader: Any = wellfed.DataLoader(
            case.dataset(),
            BATCH,
            num_workers=case.workers,
            memory_limit=MEMORY_LIMIT,
            **_shuffled(case),
            **options,
        )
        iterator = iter(loader)
        with suppress(StopIteration):
            for number in range(BATCHES + 1):
                disturbed = chance.random() < 1 / EVERY
                try:
                    if disturbed:
                        disturb(loader, iterator, case, came, chance, can)
                    batch = next(iterator)
                except RuntimeError as error:
                    if case.stays or not can.revives:
                        came.raised += 1
                    else:
                        came.failures.append(str(error))
                    break
                came.batches += 1
                check(came, kept, batch, right[number])
                if came.batches % LOOK_EVERY == 0:
                    look(came, iterator)
        iterator._shutdown_workers()
    came.wrong += sum(checksum(batch) != said for batch, said in kept)
    came.seconds = time.monotonic() - began_s
    return came


def check(
    came: Soaked, kept: deque[tuple[torch.Tensor, int]], batch: torch.Tensor, right: int
) -> None:
    """Now, and again once it was kept for a while."""
    came.wrong += checksum(batch) != right
    kept.append((batch, right))
    if len(kept) > KEPT:
        old, said = kept.popleft()
        came.wrong += checksum(old) != said


def disturb(
    loader: Any, iterator: Any, case: Case, came: Soaked, chance: random.Random, can: Features
) -> None:
    """One thing that goes wrong, or changes."""
    pids = [int(pid) for pid in iterator._workers]
    # Where a death ends the epoch there are fewer of them, or no epoch would see its end.
    kill = chance.random() < (0.5 if can.revives and not case.stays else 0.2)
    if pids and kill:
        with suppress(ProcessLookupError):
            os.kill(chance.choice(pids), signal.SIGKILL)
            came.kills += 1
        return
    if not can.switches or not pids:
        return
    workers, prefetch = chance.randint(1, 4), chance.randint(1, 4)
    try:
        loader.switch(Plan(backend="processes", workers=workers, prefetch=prefetch))
        came.switches += 1
    except UsageError:
        came.refused += 1


def look(came: Soaked, iterator: Any) -> None:
    """Memory and files, as they are now."""
    if not iterator.is_open or iterator.backend != "processes":
        return
    came.at.append(came.batches)
    amounts = (
        psutil.Process().memory_info().rss / 1e6,
        sum(_pss(int(pid)) for pid in iterator._workers) / 1e6,
        iterator._stream._crew.shelves.bytes / 1e6,
        float(len(os.listdir("/proc/self/fd"))),
    )
    for name, amount in zip(SERIES, amounts, strict=True):
        came.seen[name].append(amount)


def _pss(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just died
        return 0.0
    return next((float(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0.0)


def slopes(came: Soaked) -> Iterator[tuple[str, Slope]]:
    for name in SERIES:
        if len(came.at) >= 10:
            yield name, slope(came.at, came.seen[name])


def flat(of: Slope) -> bool:
    return of.low <= 0 or of.value < 0.01 * of.last


def rows(results: list[Soaked]) -> Iterator[str]:
    yield "| Case | Batches | Wrong | Kills | Raised, as torch | Switches (refused) | Failures |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for one in results:
        switches = f"{one.switches} ({one.refused})"
        yield (
            f"| {one.name} | {one.batches:,} | {one.wrong} | {one.kills} | {one.raised} | "
            f"{switches} | {len(one.failures)} |"
        )
    yield ""
    yield "| Case | Trainer, MB | Workers, MB | Slabs, MB | Open files |"
    yield "| --- | --- | --- | --- | --- |"
    for one in results:
        cells = [f"{of.last:,.0f}: {of.value:+.2f}{_range(of)}" for _, of in slopes(one)]
        yield f"| {one.name} | {' | '.join(cells or ['too few looks'] * len(SERIES))} |"


def _range(of: Slope) -> str:
    return f" ({of.low:+.2f} to {of.high:+.2f})" + ("" if flat(of) else ", **grows**")


def page(results: list[Soaked], can: Features, seed: int) -> str:
    total, wrong = sum(one.batches for one in results), sum(one.wrong for one in results)
    date = time.strftime("%Y-%m-%d")
    lacking = can.lacking()
    return "\n".join(
        [
            f"{total:,} batches, {wrong} of them wrong; seed {seed}, memory limit "
            f"{MEMORY_LIMIT // 1_000_000} MB. Date {date} · cpus {os.cpu_count()} · kernel "
            f"{platform.release()} · python {platform.python_version()} · torch "
            f"{torch.__version__} · wellfed {wellfed.__version__}.",
            "",
            *rows(results),
            "",
            "Amounts at the end of a run: change per 1,000 batches, with its 90 % interval.",
            *([f"Not done, as this version cannot: {'; '.join(lacking)}."] if lacking else []),
        ]
    )


def write(text: str) -> None:
    for path in PAGES:
        before, _, rest = path.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Load while everything goes wrong.")
    parser.add_argument("--batches", type=int, default=10_000, help="over all cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=[case.name for case in CASES])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", action="store_true", help="bring the pages up to date")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    can = find()
    cases = [case for case in CASES if not asked.only or case.name in asked.only]
    results = []
    for case in cases:
        came = soak(case, -(-asked.batches // len(cases)), asked.seed, can)
        results.append(came)
        said = "passed" if came.passed else f"FAILED: {came.wrong} wrong, {came.failures[:1]}"
        print(f"{case.name}: {came.batches:,} batches in {came.seconds:.0f} s, {said}", flush=True)
    print(page(results, can, asked.seed))
    if asked.json:
        asked.json.write_text(json.dumps([asdict(one) for one in results]))
    if asked.write:
        write(page(results, can, asked.seed))
    grows = any(not flat(of) for one in results for _, of in slopes(one))
    return 0 if all(one.passed for one in results) and not grows else 1


if __name__ == "__main__":
    raise SystemExit(main())
