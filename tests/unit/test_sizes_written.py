"""Sizes and shares are read as people write them, and nothing else is."""

import pytest

from wellfed._sizes import read_share, read_size
from wellfed.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GiB", 8 * 2**30),
        ("500 MB", 500 * 10**6),
        ("2g", 2 * 10**9),
        ("1.5 KiB", 1536),
        ("4096", 4096),
        ("7B", 7),
    ],
)
def test_a_size(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "many", "-1GB", "0", "5iB", "1 GiB more", "NaN"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="is no size"):
        read_size(text)


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("0.05", 0.05), (" 12.5 % ", 0.125)])
def test_a_share(text: str, share: float) -> None:
    assert read_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["five", "-1", "100%", "", "nan"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(UsageError, match="is no share"):
        read_share(text)
