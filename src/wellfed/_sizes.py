"""Sizes and shares as people write them on a command line."""

import re

from wellfed.errors import UsageError

__all__ = ["read_share", "read_size"]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)


def read_size(text: str, example: str = "--memory 8GiB") -> int:
    """Bytes: of "8GiB", "500 MB", "2g" or a plain number.

    Args:
        text: as it was written.
        example: how to write one there.

    Raises:
        UsageError: it is no size, or none at all.
    """
    match = _SIZE.fullmatch(text)
    number = float(match[1]) if match else 0.0
    unit = match[2].lower() if match else ""
    if match is None or number <= 0 or (match[3] and not unit):
        raise UsageError(f"{text!r} is no size. Write, for example: {example}")
    return int(number * (_BINARY[unit] if match[3] else _UNITS[unit]))


def read_share(text: str) -> float:
    """A share of one: of "5%" or "0.05".

    Raises:
        UsageError: it is no share, or is not from 0 to 1.
    """
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise UsageError(f"{text!r} is no share. Write, for example: --fail-if-slower 5%")
    return share
