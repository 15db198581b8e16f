"""Where the trainer's wall time went: every nanosecond charged once, the rest named "other".

    iter()      first got        asked     got                ended            iter()
      |-- startup --|---- step ----|- wait -|-- step --|-shutdown-|--- other ---|

A wait is split further where its parts are known: the sampler runs inside it, an unpinned batch
is received inside it, and without workers the whole fetch happens inside it.

Guarantees
- the lines add up to the wall, to the rounding of floats: the counting is in whole nanoseconds
- no line is negative, whatever the trace holds: what overlaps is charged to what began first
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from wellfed.records import Epoch, Ledger, Line, Span, Trace

__all__ = ["LINES", "account", "pins"]

LINES = (
    "startup",
    "wait",
    "fetch",
    "collate",
    "receive",
    "sampler",
    "pin",
    "step",
    "shutdown",
    "other_loaders",
    "other",
)
"""Names of the lines, in the order they are listed; a line of 0 seconds is left out.

`fetch` is what reading samples takes in the trainer's own process, without their collation;
with workers it happens elsewhere and the trainer sees only `wait`.
"""


def pins(trace: Trace) -> bool:
    """Whether a thread receives and pins the batches: torch has none without an accelerator."""
    asked = trace.plan.pin_memory and trace.device != "cpu"
    return asked or any(span.pin_ns > 0 for span in trace.spans)


class _Piece(NamedTuple):
    """A stretch of the trainer's time with one name."""

    from_ns: int
    upto_ns: int
    name: str
    span: Span | None = None
    """The batch waited for, where `name` is "wait"."""


def account(trace: Trace) -> Ledger:
    """Charge the trainer's wall time to the loader, the step and the rest.

    The wall runs from the first `iter()` to the end of watching. Where early spans were dropped
    it begins at the first span kept, because the waits before it are gone.

    Time inside *other* loaders is known only as a sum. It is taken out of "other" first, where
    validation between epochs lies, and then out of "step", where validation within an epoch lies.
    """
    began_ns, ended_ns = _wall(trace)
    charged: Counter[str] = Counter()
    cursor_ns = began_ns
    for piece in sorted(_pieces(trace, ended_ns), key=lambda piece: piece.from_ns):
        from_ns, upto_ns = max(piece.from_ns, cursor_ns), min(piece.upto_ns, ended_ns)
        if upto_ns <= from_ns:
            continue
        charged["other"] += from_ns - cursor_ns
        cursor_ns = upto_ns
        if piece.span is None:
            charged[piece.name] += upto_ns - from_ns
        else:
            charged.update(_split_wait(trace, piece.span, upto_ns - from_ns))
    charged["other"] += ended_ns - cursor_ns
    _move_received(trace, charged)
    _move_other_loaders(trace, charged)
    return Ledger(
        wall_s=(ended_ns - began_ns) * 1e-9,
        lines=tuple(Line(name=n, seconds=charged[n] * 1e-9) for n in LINES if charged[n]),
    )


def _wall(trace: Trace) -> tuple[int, int]:
    """Beginning and end of what is accounted for, in nanoseconds of the trace."""
    begins = [span.asked_ns for span in trace.spans]
    if not trace.spans_dropped:
        begins += [epoch.iter_ns for epoch in trace.epochs]
    ends = [span.got_ns for span in trace.spans]
    ends += [max(epoch.ready_ns, epoch.first_ns, epoch.ended_ns) for epoch in trace.epochs]
    began_ns = min(begins, default=0)
    return began_ns, max([began_ns, trace.ended_ns, *ends])


def _pieces(trace: Trace, ended_ns: int) -> Iterator[_Piece]:
    """Named stretches of the trainer's time; they may overlap where loops are nested."""
    for epoch in trace.epochs:
        yield from _ends_of(epoch, workers=trace.plan.workers)
    previous: Span | None = None
    for span in trace.spans:
        if previous is not None:
            yield _step_after(previous, span, trace, ended_ns)
        yield _Piece(span.asked_ns, span.got_ns, "wait", span)
        previous = span
    if previous is not None:
        yield _step_after(previous, None, trace, ended_ns)


def _ends_of(epoch: Epoch, workers: int) -> Iterator[_Piece]:
    """Start-up and shutdown of an epoch.

    With workers, start-up lasts until the first batch is there: processes start and the pipeline
    fills. Without, the first batch costs what every batch costs, and is no start-up.
    """
    upto_ns = max(epoch.ready_ns, epoch.first_ns) if workers else epoch.ready_ns
    yield _Piece(epoch.iter_ns, upto_ns, "startup")
    if epoch.ended_ns >= 0:
        yield _Piece(epoch.ended_ns - epoch.shutdown_ns, epoch.ended_ns, "shutdown")


def _step_after(span: Span, following: Span | None, trace: Trace, ended_ns: int) -> _Piece:
    """The user's step on a batch: until the next is asked for, or the epoch shuts down."""
    if following is not None and following.epoch == span.epoch:
        # What wellfed paused the loop for is no step; it is left over and becomes "other".
        return _Piece(span.got_ns, following.asked_ns - max(0, following.paused_ns), "step")
    for epoch in trace.epochs:
        if epoch.index == span.epoch and epoch.ended_ns >= 0:
            return _Piece(span.got_ns, epoch.ended_ns - epoch.shutdown_ns, "step")
    return _Piece(span.got_ns, following.asked_ns if following else ended_ns, "step")


def _split_wait(trace: Trace, span: Span, wait_ns: int) -> Counter[str]:
    """The parts of one wait that happen in the trainer's process, each clipped to what is left."""
    parts = {"sampler": span.sampler_ns}
    if not trace.plan.workers:
        parts["fetch"] = span.fetch_ns - span.collate_ns
        parts["collate"] = span.collate_ns
        parts["pin"] = span.pin_ns
    charged: Counter[str] = Counter()
    left_ns = wait_ns
    for name, part_ns in parts.items():
        charged[name] = min(left_ns, max(0, part_ns))
        left_ns -= charged[name]
    charged["wait"] = left_ns
    return charged


def _move_received(trace: Trace, charged: Counter[str]) -> None:
    """Charge the receiving of batches, where the trainer's own thread does it.

    As a sum over all waits, not wait by wait: a batch that arrives early is received while the
    trainer waits for an earlier one.
    """
    if trace.plan.workers and not pins(trace):
        receive_ns = sum(max(0, span.receive_ns) for span in trace.spans)
        _move(charged, "wait", "receive", receive_ns)


def _move_other_loaders(trace: Trace, charged: Counter[str]) -> None:
    others_ns = round(sum(max(0.0, other.wait_s) for other in trace.others) * 1e9)
    left_ns = others_ns - _move(charged, "other", "other_loaders", others_ns)
    _move(charged, "step", "other_loaders", left_ns)


def _move(charged: Counter[str], source: str, target: str, amount_ns: int) -> int:
    """Charge up to `amount_ns` to another line; returns how much was moved."""
    moved_ns = min(charged[source], amount_ns)
    charged[source] -= moved_ns
    charged[target] += moved_ns
    return moved_ns
