"""What a pass writes down of its epoch, made into a record."""

from typing import Any

from wellfed.records import Epoch

__all__ = ["epoch_of"]


def epoch_of(written: dict[str, Any], first: int, zero_ns: int) -> Epoch:
    """The epoch that was written down.

    Args:
        written: fields of an Epoch, times on the clock's own zero, lists where it has tuples.
        first: what its index counts from.
        zero_ns: what its times count from.
    """
    values = dict(written)
    values["index"] -= first
    for name in ("iter_ns", "ready_ns", "first_ns", "ended_ns"):
        if name in values:
            values[name] -= zero_ns
    for name in ("start_ns", "pickle_ns", "pickled_bytes"):
        values[name] = tuple(values.get(name, ()))
    begun = values.get("worker_begin_ns", {})
    values["worker_begin_ns"] = tuple(begun_ns - zero_ns for begun_ns in begun.values())
    return Epoch(**values)
