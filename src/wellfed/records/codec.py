"""Records to bytes and back: one codec, one schema version.

The file is JSON with two keys before the record: `wellfed_schema` and `kind`. A higher schema
number means that fields changed meaning; additions do not raise it (see `Record`).
"""

import gzip
import zlib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from wellfed.errors import NewerReport, ReportError
from wellfed.records.report import Report

__all__ = ["SCHEMA_VERSION", "decode", "encode", "load", "save"]

SCHEMA_VERSION = 1

R = TypeVar("R", bound=msgspec.Struct)


class _Envelope(msgspec.Struct):
    wellfed_schema: int
    kind: str
    record: msgspec.Raw


def encode(record: msgspec.Struct) -> bytes:
    """The record as JSON bytes, inside its versioned envelope."""
    return msgspec.json.encode(
        _Envelope(
            wellfed_schema=SCHEMA_VERSION,
            kind=type(record).__name__,
            record=msgspec.Raw(_json(record)),
        )
    )


def _json(record: msgspec.Struct) -> bytes:
    try:
        return msgspec.json.encode(record)
    except UnicodeEncodeError:
        return msgspec.json.encode(_printable(msgspec.to_builtins(record)))


def _printable(value: Any) -> Any:
    """The same without lone surrogates: bytes of a file name that are no UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_printable(name): _printable(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(one) for one in value]
    return value


_DIAGNOSE = "wellfed diagnose --json FILE train.py"


def decode(data: bytes, kind: type[R], origin: str = "these bytes", made_by: str = _DIAGNOSE) -> R:
    """The record that `encode` wrote.

    Args:
        data: what `encode` returned.
        kind: the record expected.
        origin: what to call the data in an error.
        made_by: the command that makes such a file, for an error.

    Raises:
        NewerReport: written by a version with a higher schema number.
        ReportError: not a record of that kind; the message says where it broke.
    """
    try:
        envelope = msgspec.json.decode(data, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReportError(
            f"{origin} is not a wellfed file: {error}. Make one with: {made_by}"
        ) from error
    if envelope.wellfed_schema > SCHEMA_VERSION:
        raise NewerReport(
            f"{origin} has schema {envelope.wellfed_schema}, and this wellfed reads up to "
            f"{SCHEMA_VERSION}. Upgrade it: pip install -U wellfed"
        )
    if envelope.kind != kind.__name__:
        raise ReportError(
            f"{origin} holds a {envelope.kind}, and a {kind.__name__} is needed. "
            f"Make one with: {made_by}"
        )
    try:
        return msgspec.json.decode(envelope.record, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReportError(f"{origin} is damaged: {error}. Make it again with: {made_by}") from error


def save(record: msgspec.Struct, path: str | Path) -> None:
    """Write the record to `path`; gzip-compressed if the name ends in ".gz".

    Raises:
        ReportError: the file cannot be written.
    """
    data = encode(record)
    if str(path).endswith(".gz"):
        # Python's default, 9, takes four times as long for one per cent less.
        data = gzip.compress(data, compresslevel=6, mtime=0)
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}.") from error


def load(
    path: str | Path,
    kind: type[R] = Report,  # type: ignore[assignment]
    made_by: str = _DIAGNOSE,
) -> R:
    """Read the record that `save` wrote.

    Args:
        path: the file.
        kind: the record expected.
        made_by: the command that makes such a file, for an error.

    Raises:
        NewerReport: written by a version with a higher schema number.
        ReportError: no such file, or not a record of that kind.
    """
    try:
        data = Path(path).read_bytes()
        if str(path).endswith(".gz"):
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ReportError(f"cannot read {path}: {reason}.") from error
    return decode(data, kind, origin=str(path), made_by=made_by)
