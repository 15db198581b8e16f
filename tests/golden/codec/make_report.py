"""Writes report-v<schema>.json.gz: a report with every field set.

    python tests/golden/codec/make_report.py

Run it once for each new schema version and commit what it writes; files of older versions stay as
they are, for they are what users have on disk.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

from wellfed.records import SCHEMA_VERSION, Report, save


def value_of(kind: Any, number: Iterator[int]) -> Any:
    """A value of that type that differs from every other value made, so nothing can be swapped."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return value_of(next(one for one in inner if one is not NoneType), number)
    if origin is tuple:
        return tuple(value_of(inner[0], number) for _ in range(2))
    if origin is dict:
        return {value_of(inner[0], number): value_of(inner[1], number) for _ in range(2)}
    if isinstance(origin or kind, type) and issubclass(origin or kind, msgspec.Struct):
        return record(kind, number)
    simple: dict[Any, Any] = {
        int: int,
        float: lambda n: n + 0.5,
        str: lambda n: f"word {n}",
        bool: lambda n: True,
    }
    return simple[kind](next(number))


def record(kind: Any, number: Iterator[int]) -> Any:
    """A record of that kind with every field set, a flag to the opposite of its default."""
    values = {}
    for field in msgspec.structs.fields(kind):
        value = value_of(field.type, number)
        values[field.name] = not field.default if isinstance(value, bool) else value
        if isinstance(value, bool) and field.default is msgspec.NODEFAULT:
            values[field.name] = True
    return kind(**values) if isinstance(kind, type) else get_origin(kind)(**values)


def report() -> Report:
    """The report that the golden files hold."""
    made = record(Report, itertools.count(1))
    assert isinstance(made, Report)
    return made


def left_at_default(value: Any, path: str = "$") -> list[str]:
    """Paths of the fields that still have their default."""
    if isinstance(value, tuple):
        return left_at_default(value[0], f"{path}[0]") if value else [path]
    if not isinstance(value, msgspec.Struct):
        return []
    found = []
    for field in msgspec.structs.fields(value):
        inner = getattr(value, field.name)
        if field.default is not msgspec.NODEFAULT and inner == field.default:
            found.append(f"{path}.{field.name}")
        found += left_at_default(inner, f"{path}.{field.name}")
    return found


if __name__ == "__main__":
    save(report(), Path(__file__).with_name(f"report-v{SCHEMA_VERSION}.json.gz"))
