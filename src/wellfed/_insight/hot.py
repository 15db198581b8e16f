"""Where the time of making batches goes, line by line: what the samples of a trace amount to."""

from collections import Counter
from typing import NamedTuple

from wellfed.records import Case, HotLine

__all__ = ["Hot", "hottest", "locked_share"]

# From so many samples a share of a half is known within 15 points.
FEWEST_SAMPLES = 30


class Hot(NamedTuple):
    """A function of the user's in which fetches are spent."""

    function: str
    place: str
    """Its hottest line: "data.py:48"."""
    library: str
    """The package that it mostly is in from there; "" for none."""
    share: float
    """Share of the fetch time, 0 to 1."""


def hottest(case: Case) -> Hot | None:
    """The function in which most fetches are spent; None if too little was sampled."""
    lines = case.trace.hot_lines
    total = sum(line.samples for line in lines)
    if total < FEWEST_SAMPLES:
        return None
    by_function: Counter[tuple[str, str]] = Counter()
    for line in lines:
        by_function[line.file, line.function] += line.samples
    (file, function), samples = by_function.most_common(1)[0]
    inside = [line for line in lines if (line.file, line.function) == (file, function)]
    top = max(inside, key=lambda line: line.samples)
    libraries: Counter[str] = Counter()
    for line in inside:
        libraries[line.library] += line.samples
    return Hot(
        function=function,
        place=f"{file.replace(chr(92), '/').rpartition('/')[2]}:{top.line}",
        library=libraries.most_common(1)[0][0],
        share=samples / total,
    )


def locked_share(case: Case) -> tuple[float, HotLine] | None:
    """Share of fetch time that workers wait for a lock, and the line where most of it is."""
    lines = case.trace.hot_lines
    total = sum(line.samples for line in lines)
    if total < FEWEST_SAMPLES:
        return None
    return sum(line.locked for line in lines) / total, max(lines, key=lambda line: line.locked)
