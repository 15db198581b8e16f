"""Whatever a record holds, it comes back as it was."""

from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wellfed.records import Epoch, Machine, Report, Span, StageStats, Trace, Verdict, decode, encode

INT64 = 2**63 - 1
SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: st.integers(-INT64 - 1, INT64),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(max_size=20),
    NoneType: st.none(),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return st.one_of([values(one) for one in inner])
    if origin is tuple:
        return st.lists(values(inner[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(values(inner[0]), values(inner[1]), max_size=2)
    if kind in SIMPLE:
        return SIMPLE[kind]
    return records(kind)


def records(kind: Any) -> st.SearchStrategy[Any]:
    """Records of that kind."""
    fields = {field.name: values(field.type) for field in msgspec.structs.fields(kind)}
    return st.builds(get_origin(kind) or kind, **fields)


@pytest.mark.parametrize("kind", [Span, Epoch, StageStats, Machine, Verdict, Trace, Report])
@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_a_record_comes_back_as_it_was(kind: type[msgspec.Struct], data: st.DataObject) -> None:
    record = data.draw(records(kind))

    assert record == decode(encode(record), kind)
