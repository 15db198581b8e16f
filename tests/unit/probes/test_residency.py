"""Cached pages are counted, and forgotten on request, and the file stays as it is."""

import os
from pathlib import Path

from wellfed._probes.residency import drop_pages


def test_forgetting_a_file_changes_nothing_in_it(tmp_path: Path) -> None:
    file = tmp_path / "one"
    file.write_bytes(b"x" * 2**20)
    os.sync()
    before = file.stat()

    seen = drop_pages([str(file)])

    assert file.read_bytes() == b"x" * 2**20
    assert (file.stat().st_mtime_ns, file.stat().st_size) == (before.st_mtime_ns, before.st_size)
    assert seen is None or 0 <= seen[1] <= seen[0] <= 1


def test_files_that_are_gone_are_passed_over(tmp_path: Path) -> None:
    assert drop_pages([str(tmp_path / "none")]) is None
    assert drop_pages([]) is None
