"""A file that can no longer be read in one sitting is split."""

from pathlib import Path

SRC = Path(__file__).parents[3] / "src"
LIMIT = 400


def test_no_file_is_longer_than_the_limit() -> None:
    lines = {path: len(path.read_text().splitlines()) for path in SRC.rglob("*.py")}

    assert {str(path.relative_to(SRC)): n for path, n in lines.items() if n > LIMIT} == {}
