"""The order in which stages run: down the ladder and up again, and two ways in turn.

    ladder     as_is warm waits memoised collated tiny cached | cached tiny ... warm as_is | ...
    in turn    A B B A, again until it is decided

Either order gives a machine whose speed drifts no favourite.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from wellfed._engine.experiments.course import Beats, Course, OutOfTime

__all__ = ["Climbed", "climb", "in_turn", "said_by"]

Forget = Callable[[Sequence[str]], tuple[float, float] | None]
"""Asks the kernel to drop files from the page cache; says which share was there before and after,
or nothing where that cannot be known."""

# With more than this still cached, a run as is is not as cold as the one it stands for.
MOST_CACHED_SHARE = 0.5

# Rounds beyond these narrow an interval by less than a fifteenth each.
MOST_ROUNDS = 8
MOST_TURNS = 4


@dataclass
class Climbed:
    """What the ladder showed."""

    beats: dict[str, Beats] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """What the rungs that raised said."""
    files: tuple[str, ...] = ()
    """Files whose cached pages were dropped before each run as is."""
    unread: int = 0
    """The first index batch that nobody has read."""


def climb(
    course: Course,
    rungs: Sequence[str],
    batches: int,
    *,
    enough: Callable[[Mapping[str, Sequence[float]]], bool],
    forget: Forget | None,
) -> Climbed:
    """Run the rungs down and up until enough is known or the time is over.

    Args:
        course: the loader and its consumer.
        rungs: from the top.
        batches: timed at a stretch.
        enough: asked after each way; given seconds of each batch by rung.
        forget: called with the files of a stretch before it is read as is, where the run that is
            explained read from storage; None where it did not.

    Raises:
        Exception: the first rung raised; nothing can be compared with it.
    """
    seen = Climbed()
    places = _Places(course, batches, forget)
    try:
        seen.files = places.note() if forget is not None else ()
        for way in range(2 * MOST_ROUNDS):
            for rung in rungs if way % 2 == 0 else reversed(rungs):
                if rung not in seen.failed:
                    _visit(course, rung, batches, places, seen)
            if way % 2 and enough({name: one.periods_s for name, one in seen.beats.items()}):
                break
    except OutOfTime:
        pass
    if places.cached_share > MOST_CACHED_SHARE and "warm" in seen.beats:
        del seen.beats["warm"]
        seen.failed["warm"] = f"the page cache kept {places.cached_share:.0%} of the files"
    seen.unread = places.unread
    ordered = [rung for rung in rungs if rung in seen.beats]
    seen.beats = {rung: seen.beats[rung] for rung in ordered}
    return seen


def said_by(error: Exception) -> str:
    """An error in one line: the last, which in one that passed on a worker's is the user's own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1:
        return lines[-1]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _visit(course: Course, rung: str, batches: int, places: "_Places", seen: Climbed) -> None:
    try:
        beats = course.run(rung, batches, place=places.of(rung))
    except OutOfTime:
        raise
    except Exception as error:
        if rung == "as_is":
            raise
        seen.failed[rung] = said_by(error)
        seen.beats.pop(rung, None)
        course.close()
        return
    seen.beats[rung] = seen.beats.get(rung, Beats()).joined(beats)


class _Places:
    """Which index batches a rung reads: as is those that nobody read yet, warm the same again."""

    def __init__(self, course: Course, batches: int, forget: Forget | None) -> None:
        self._span = batches + 2 * course.in_flight
        self._course = course
        self._forget = forget
        self._files: tuple[str, ...] = ()
        self._as_is = -self._span
        self.cached_share = 0.0
        """The largest share of the files that stayed in the page cache."""

    def note(self) -> tuple[str, ...]:
        """Find out which files a stretch opens, by reading it once."""
        self._files = self._course.files(0, self._span)
        return self._files

    @property
    def unread(self) -> int:
        """The first index batch that nobody has read."""
        return self._as_is + self._span

    def of(self, rung: str) -> int | None:
        """Where the rung begins; None where it does not matter."""
        if rung == "as_is":
            if self._files and self._forget is not None:
                self._as_is = 0
                _, after = self._forget(self._files) or (0.0, 0.0)
                self.cached_share = max(self.cached_share, after)
            else:
                self._as_is += self._span
        return max(0, self._as_is) if rung in ("as_is", "warm") else None


def in_turn(
    first: Callable[[], Beats],
    second: Callable[[], Beats],
    decided: Callable[[Beats, Beats], bool],
) -> tuple[Beats, Beats]:
    """Run two ways A B B A, again until it is decided or the time is over.

    Raises:
        OutOfTime: before each ran once.
    """
    one, other = Beats(), Beats()
    try:
        for _ in range(MOST_TURNS):
            one, other = one.joined(first()), other.joined(second())
            other, one = other.joined(second()), one.joined(first())
            if decided(one, other):
                break
    except OutOfTime:
        if not one.periods_s or not other.periods_s:
            raise
    return one, other
