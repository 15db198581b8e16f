"""What a recorder keeps of a batch until it is asked: small, and unseen by the garbage collector.

An Entry is a flat tuple of numbers and of what the maker told, as it came. It is made while the
script trains; a Span is made of it afterwards.
"""

from typing import Any, NamedTuple

from wellfed._engine.watch.letters import Brief, in_whole
from wellfed._engine.watch.note import NO_NOTE, NOTE_FIELDS
from wellfed.records import Span

__all__ = ["Entry", "span_of"]


class Entry(NamedTuple):
    """A batch as it was delivered. Kept as a plain tuple."""

    key: int
    """Which batch of the loader, over all its epochs."""
    epoch: int
    number: int
    asked_ns: int
    got_ns: int
    asked_cpu_ns: int
    got_cpu_ns: int
    sampler_ns: int
    ready: int
    held: int
    arrived_ns: int
    receive_ns: int
    pin_ns: int
    message_bytes: int
    paused_ns: int
    told: tuple[Any, ...]
    """Of each part: a letter's bytes, a Brief or a Note, the latter two as plain tuples."""


_HEAD = [name for name in Entry._fields if name in Span.__struct_fields__]
_TIMES = ("asked_ns", "got_ns", "arrived_ns", "taken_ns", "sent_ns")


def span_of(entry: Entry, *, first_epoch: int, zero_ns: int, stall_ns: int, inside: bool) -> Span:
    """The span of a batch.

    Args:
        entry: what was kept of it.
        first_epoch: what its epoch counts from.
        zero_ns: what its times count from.
        stall_ns: how long the device stood idle; -1 if that was not seen.
        inside: whether it was made inside `__next__`, by the thread that asked.
    """
    values: dict[str, Any] = {name: getattr(entry, name) for name in _HEAD}
    note = in_whole(entry.told)
    if not entry.told and inside:
        note = _inside(entry).note()
    values.update(zip(NOTE_FIELDS, note, strict=True))
    values["epoch"] -= first_epoch
    values["device_stall_ns"] = stall_ns
    values["parts"] = max(1, len(entry.told))
    for name in _TIMES:
        values[name] = values[name] - zero_ns if values[name] >= 0 else -1
    return Span(**values)


def _inside(entry: Entry) -> Brief:
    """All of `__next__` that is not the sampler's made the batch."""
    wall_ns = entry.got_ns - entry.asked_ns - entry.sampler_ns
    cpu_ns = entry.got_cpu_ns - entry.asked_cpu_ns if entry.asked_cpu_ns >= 0 else -1
    return Brief(
        worker=-1,
        taken_ns=entry.asked_ns,
        idle_ns=-1,
        fetch_ns=max(0, wall_ns),
        cpu_ns=min(cpu_ns, wall_ns),
        serialise_ns=-1,
        samples=-1,
    )


assert len(NO_NOTE) > len(Brief._fields), "a Brief is told from a Note by its length"
