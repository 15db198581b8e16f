"""Figures as data: what a card holds, before anyone draws it."""

from typing import Literal, TypeAlias

from wellfed.records import Estimate
from wellfed.records._record import Record

__all__ = ["Advice", "Bar", "Card", "Change", "Contrast", "Role", "Row", "Split", "Tone"]

Tone: TypeAlias = Literal["good", "bad", "unsure"]
"""Nothing to fix, something to fix, or no verdict."""

Role: TypeAlias = Literal["waiting", "copying", "yours", "rest"]
"""Whose time it is: the loader's, the copy's, the training step's, or nobody's in particular."""


class Split(Record, frozen=True, kw_only=True):
    """The step as people time it, and its two parts."""

    period: Estimate
    """Seconds from one batch to the next."""
    waiting: Estimate
    """Seconds of it inside `__next__`."""
    yours: Estimate
    """The rest: the training step and the loop around it."""
    samples_per_s: float | None = None


class Bar(Record, frozen=True, kw_only=True):
    """One part of the wall time."""

    label: str
    seconds: float
    share: float
    """Share of the wall, 0 to 1; a card's bars add up to 1, less half a per cent at most."""
    role: Role


class Row(Record, frozen=True, kw_only=True):
    """A thing, what it comes to, and why."""

    label: str
    text: str
    amount: str = ""


class Advice(Record, frozen=True, kw_only=True):
    """One remedy."""

    change: str
    """The exact text to paste."""
    gain: str
    """"2.1x predicted, 1.9–2.3x"; "" if it cannot be predicted."""
    side_effects: tuple[str, ...]
    """What else it does: to memory, to the samples and their order."""
    why: str = ""


class Card(Record, frozen=True, kw_only=True):
    """All that is shown of a report on one screen."""

    name: str
    code: str
    title: str
    """The verdict in plain words."""
    headline: str
    """One sentence that can be acted on; where there is no verdict, why not."""
    tone: Tone
    confidence: float | None
    """0 to 1; None where there is no verdict."""
    split: Split | None
    ceiling: Estimate | None
    """Speed-up if data were free."""
    wall_s: float
    bars: tuple[Bar, ...]
    """Where the wall time went, largest first."""
    evidence: tuple[str, ...]
    proof: tuple[Row, ...] = ()
    """What the experiments measured; nothing if there were none."""
    untested: tuple[Row, ...] = ()
    """What they did not test: each reason with the names."""
    site: str
    """File and line of the loader; "" if that was not seen."""
    call: str
    """The loader as one would write it."""
    advice: tuple[Advice, ...]
    """What to do, best first."""
    not_worth: tuple[Row, ...]
    """Settings that would not help, each with its gain and why."""
    also: tuple[Row, ...]
    """Other findings, each with what it costs."""
    small_print: tuple[Row, ...]
    """What all this rests on."""
    wellfed_version: str


class Change(Record, frozen=True, kw_only=True):
    """One thing before and after."""

    label: str
    before: str
    after: str


class Contrast(Record, frozen=True, kw_only=True):
    """Two runs side by side."""

    changed: tuple[Change, ...]
    """Settings that differ."""
    rows: tuple[Change, ...]
    """What was measured."""
    measured: Estimate | None
    """Speed after over speed before; None if either run saw too little."""
    predicted: Estimate | None
    holds: bool | None
    """Whether what was measured lies inside the predicted interval; None without the two."""
    sentence: str
    """The same in words."""
    surroundings: tuple[Change, ...] = ()
    """Facts and verdicts that differ."""
    caveats: tuple[str, ...] = ()
    """Why the two may not be comparable."""

    @property
    def differs(self) -> bool | None:
        """Whether the speeds differ by more than their noise; None if they are not known."""
        if self.measured is None:
            return None
        return not self.measured.low <= 1.0 <= self.measured.high
