"""Pictures as data: what each shows, in numbers, before anyone draws it.

Every chart says in words what it shows and how to read it, so that nobody has to guess, and so
that a reader without the picture loses nothing.
"""

from typing import Literal, TypeAlias

from wellfed.records._record import Record

__all__ = [
    "Chart",
    "Curve",
    "Heat",
    "Histogram",
    "Kind",
    "Lane",
    "Lanes",
    "Level",
    "Line",
    "Part",
    "Piece",
    "Point",
    "Series",
    "Stack",
    "Stacked",
]

Kind: TypeAlias = Literal[
    "computing",
    "queueing",
    "blocked",
    "waiting",
    "yours",
    "moving",
    "unpacking",
    "pinning",
    "idle",
    "memory",
]
"""What a stretch of time or memory went to; a renderer gives each kind one colour."""


class Part(Record, frozen=True, kw_only=True):
    """One part of a stack."""

    label: str
    amount: float
    kind: Kind
    text: str
    """The amount in words, with what it is."""


class Stack(Record, frozen=True, kw_only=True):
    """One bar."""

    label: str
    parts: tuple[Part, ...]


class Level(Record, frozen=True, kw_only=True):
    """A line across a chart that says: no further."""

    label: str
    value: float
    text: str


class Picture(Record, frozen=True, kw_only=True):
    """What every chart has."""

    name: str
    title: str
    reading: str
    """How to read it, in a sentence or two."""
    saying: str = ""
    """What it shows here, in one sentence; "" where that is left to the reader."""


class Stacked(Picture, frozen=True, kw_only=True):
    """Bars of parts that add up."""

    unit: str
    stacks: tuple[Stack, ...]
    levels: tuple[Level, ...] = ()


class Point(Record, frozen=True, kw_only=True):
    """A value with its interval."""

    at: float
    value: float
    low: float
    high: float
    text: str


class Curve(Picture, frozen=True, kw_only=True):
    """A forecast with its band, what was measured, and the limits over it."""

    across: str
    """What the horizontal axis counts."""
    unit: str
    points: tuple[Point, ...]
    measured: tuple[Point, ...]
    levels: tuple[Level, ...] = ()


class Heat(Picture, frozen=True, kw_only=True):
    """A value for each pair of settings; contours of another."""

    across: str
    up: str
    columns: tuple[int, ...]
    rows: tuple[int, ...]
    values: tuple[tuple[float | None, ...], ...]
    """By row, then column; None where there is no forecast."""
    texts: tuple[tuple[str, ...], ...]
    unit: str
    contours: tuple[tuple[float | None, ...], ...] = ()
    contour_unit: str = ""
    here: tuple[int, int] | None = None
    """Column and row of the settings that ran."""


class Line(Record, frozen=True, kw_only=True):
    """One quantity over time."""

    label: str
    kind: Kind
    at_s: tuple[float, ...]
    values: tuple[float, ...]


class Series(Picture, frozen=True, kw_only=True):
    """Quantities over time, in one unit."""

    unit: str
    lines: tuple[Line, ...]
    levels: tuple[Level, ...] = ()


class Histogram(Picture, frozen=True, kw_only=True):
    """How often each value came."""

    unit: str
    edges: tuple[float, ...]
    """One more than the counts."""
    counts: tuple[int, ...]
    slow_from: float | None = None
    """Values from here on are stragglers; None where there are none."""
    levels: tuple[Level, ...] = ()


class Piece(Record, frozen=True, kw_only=True):
    """A stretch of time on a lane."""

    begin_s: float
    seconds: float
    kind: Kind
    text: str


class Lane(Record, frozen=True, kw_only=True):
    """What one process did, stretch after stretch."""

    label: str
    pieces: tuple[Piece, ...]


class Lanes(Picture, frozen=True, kw_only=True):
    """Processes side by side over time."""

    lanes: tuple[Lane, ...]


Chart: TypeAlias = Stacked | Curve | Heat | Series | Histogram | Lanes
