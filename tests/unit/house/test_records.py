"""Records are frozen, and each of their numbers says what it is and in which unit."""

import ast
import inspect
import re
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from wellfed import records
from wellfed.records import (
    beside,
    changes,
    facts,
    looks,
    plan,
    proof,
    report,
    sites,
    stats,
    status,
    trace,
    tuning,
    verdict,
)

MODULES = (
    beside,
    changes,
    facts,
    looks,
    plan,
    proof,
    report,
    sites,
    stats,
    status,
    trace,
    tuning,
    verdict,
)
KINDS = [
    kind
    for name in records.__all__
    if inspect.isclass(kind := getattr(records, name)) and issubclass(kind, msgspec.Struct)
]
NUMERIC = re.compile(r"\b(int|float|Estimate)\b")

TIME = re.compile(r"(mean )?(cpu )?(nano)?seconds\b(?! per second)", re.IGNORECASE)
BYTES = re.compile(r"(mean )?(free )?bytes\b", re.IGNORECASE)
TIME_UNITS = {"s", "ns", "seconds"}
BYTE_UNITS = {"bytes", "kb", "chars"}  # chars: the kernel's word for bytes that read calls return
UNITLESS = {"time", "duration", "latency", "elapsed", "size", "memory", "swap", "shm"}

# Nothing to add to the name; and torch's own word, which counts samples.
SAID_BY_NAME = {
    "Gauge.values",
    "Ledger.wall_s",
    "Line.seconds",
    "Site.line",
    "Stage.p50_s",
    "Stage.p90_s",
    "Stage.p99_s",
}
COUNTS_SAMPLES = {"Workload.batch_size"}


class Field(NamedTuple):
    """One field as it stands in the source."""

    owner: str
    name: str
    type: str
    text: str
    """The docstring below it."""
    row: str
    """The same, or what stands below the last of the fields in one row with it."""

    def __str__(self) -> str:
        return f"{self.owner}.{self.name}"


def fields() -> list[Field]:
    """Every field of every record."""
    found: list[Field] = []
    for module in MODULES:
        tree = ast.parse(Path(module.__file__ or "").read_text())
        for owner in tree.body:
            if isinstance(owner, ast.ClassDef):
                found += fields_of(owner)
    return found


def fields_of(owner: ast.ClassDef) -> list[Field]:
    found: list[Field] = []
    row: list[Field] = []
    for node in owner.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                row.append(Field(owner.name, name, ast.unparse(annotation), "", ""))
            case ast.Expr(value=ast.Constant(value=str(text))) if row:
                *before, last = row
                found += [field._replace(row=text) for field in before]
                found.append(last._replace(text=text, row=text))
                row = []
    return found + row


FIELDS = fields()
NUMBERS = [field for field in FIELDS if NUMERIC.search(field.type)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_is_frozen(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_config__.frozen


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not trace.Span])
def test_a_record_is_made_by_keyword_only(kind: type[msgspec.Struct]) -> None:
    kinds = {parameter.kind for parameter in inspect.signature(kind).parameters.values()}

    assert kinds <= {inspect.Parameter.KEYWORD_ONLY}


def test_a_span_is_saved_as_an_array() -> None:
    assert trace.Span.__struct_config__.array_like


def test_every_record_is_public() -> None:
    assert {kind.__name__ for kind in KINDS} == {field.owner for field in FIELDS}


def test_a_number_says_below_itself_what_it_is() -> None:
    silent = {str(field) for field in NUMBERS if not field.row}

    assert silent <= SAID_BY_NAME


def test_a_time_or_an_amount_of_memory_carries_its_unit() -> None:
    units = {
        str(field): set(field.name.split("_"))
        for field in NUMBERS
        if not field.name.endswith("_share")
    }
    times = {str(field) for field in NUMBERS if TIME.match(field.text)}
    amounts = {str(field) for field in NUMBERS if BYTES.match(field.text)}
    bare = {
        name
        for name, words in units.items()
        if words & UNITLESS and not words & (TIME_UNITS | BYTE_UNITS)
    }

    assert set() == {name for name in times if not units[name] & TIME_UNITS}
    assert set() == {name for name in amounts if not units[name] & BYTE_UNITS}
    assert bare == COUNTS_SAMPLES
    assert len(times) > 3  # the expressions above still find what they look for
    assert len(amounts) > 3
