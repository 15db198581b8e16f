"""Measures how much of a core each process gets when all usable cores are busy at once.

    child 0   ready ... |= alone =|.............|= together =| ... and seven times so:
    child 1   ready ...............|  ........  |= together =|     the median of the ratios, because
    child n   ready .............................|= together =|    a neighbour's burst spoils a few

Guarantees
- nothing is forked from this process, which may have threads and CUDA: fresh interpreters run
- interpreter start lies outside the timed windows
- of the ranks of a run on one machine only the first measures: together they would time each other
- on every way out no child is left
"""

import math
import os
import select
import subprocess
import sys
import time
from statistics import median

from wellfed._probes.files import Unreadable
from wellfed._probes.probe import probe
from wellfed.records import Fact

__all__ = ["parallel_efficiency"]

# Short windows, many of them: a neighbour's burst of some 100 ms then spoils one or two ratios,
# not the median. 25 ms is 6 scheduler slices, 1 % of which the children's start may miss.
WINDOW_NS = 25_000_000
ROUNDS = 7

# Time for the children to read their window and go to sleep before it opens.
LEAD_NS = 5_000_000

# Interpreters that need longer to start are starved so badly that the number would say nothing.
PATIENCE_S = 3.0

# More children tell no more: sharing of cores and turbo clocks show by then.
MOST_CHILDREN = 8

CHILD = """
import sys, time
print("ready", flush=True)
for window in sys.stdin:
    begin_ns, end_ns = map(int, window.split())
    time.sleep(max(0, begin_ns - time.perf_counter_ns()) / 1e9)
    rounds = 0
    while time.perf_counter_ns() < end_ns:
        for number in range(200):
            number * number
        rounds += 1
    print(rounds, flush=True)
"""


@probe
def parallel_efficiency(cpus_usable: Fact[float]) -> Fact[float]:
    """Integer work of one process per usable CPU together, over the same work done alone.

    Takes about 0.5 s of wall time, all cores busy for 0.2 s of it.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return Fact(how="none: measured by local rank 0 only")
    if cpus_usable.value is None:
        raise Unreadable(f"the number of usable CPUs is not known: {cpus_usable.how}")
    cpus = min(cpus_usable.value, MOST_CHILDREN)
    children: list[subprocess.Popen[str]] = []
    try:
        for _ in range(math.ceil(cpus)):
            children.append(_start())  # noqa: PERF401 - those started must be ended if one fails
        for child in children:
            _answer(child)
        ratios = [_ratio(children, cpus) for _ in range(ROUNDS)]
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.communicate()
    how = f"measured: {len(children)} busy processes against one, median of {ROUNDS} rounds"
    # Above 1 is noise: a neighbour was busier while the lone process ran.
    return Fact(value=min(1.0, median(ratios)), how=how)


def _ratio(children: list[subprocess.Popen[str]], cpus: float) -> float:
    """Work of all at once over `cpus` times the work of one alone, one round of each."""
    alone = sum(_burn(children[:1]))
    together = sum(_burn(children))
    if not alone:
        raise Unreadable("the lone process did not get to run within its window")
    return together / (cpus * alone)


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        # -I and -S: no environment, no user's directory, no site-packages can slow the start.
        [sys.executable, "-I", "-S", "-c", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
        cwd="/",
    )


def _burn(children: list[subprocess.Popen[str]]) -> list[int]:
    """Let the children work within one and the same window; how far each of them came."""
    begin_ns = time.perf_counter_ns() + LEAD_NS
    for child in children:
        assert child.stdin is not None
        child.stdin.write(f"{begin_ns} {begin_ns + WINDOW_NS}\n")
    return [int(_answer(child)) for child in children]


def _answer(child: subprocess.Popen[str]) -> str:
    """The child's next line, waited for no longer than `PATIENCE_S`.

    Each line comes in one write, so that a pipe with something in it holds a whole line.
    """
    assert child.stdout is not None
    ready, _, _ = select.select([child.stdout], [], [], PATIENCE_S)
    line = child.stdout.readline() if ready else ""
    if not line:
        raise Unreadable(f"a measuring process did not answer within {PATIENCE_S:g} s")
    return line
