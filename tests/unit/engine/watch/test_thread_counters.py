"""One thread's counters count that thread; what cannot be read stays unknown."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from wellfed._engine.watch import counters
from wellfed._engine.watch.counters import Counters, Reading
from wellfed.testing import spin


def spent(before: Reading, after: Reading, name: str) -> int:
    return int(getattr(after, name) - getattr(before, name))


def test_reads_of_this_thread_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(bytes(5000))
    mine = Counters(whole_process_io=False)

    before = mine.read()
    file.read_bytes()
    spin(0.001)
    after = mine.read()
    mine.close()

    assert spent(before, after, "read_chars") >= 5000
    assert spent(before, after, "read_calls") >= 1
    assert spent(before, after, "cpu_ns") >= 1_000_000
    assert spent(before, after, "run_queue_ns") >= 0
    assert spent(before, after, "process_cpu_ns") >= spent(before, after, "cpu_ns") - 1_000_000


@pytest.mark.parametrize("whole_process", [True, False])
def test_reads_of_another_thread_count_for_the_process_alone(
    tmp_path: Path, whole_process: bool
) -> None:
    file = tmp_path / "data"
    file.write_bytes(bytes(50_000))
    mine = Counters(whole_process_io=whole_process)

    before = mine.read()
    thread = threading.Thread(target=file.read_bytes)
    thread.start()
    thread.join()
    after = mine.read()
    mine.close()

    assert (spent(before, after, "read_chars") >= 50_000) is whole_process


def test_a_platform_without_proc_leaves_counters_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refused)
    monkeypatch.setattr(counters, "resource", None)
    mine = Counters(whole_process_io=True)
    seen = mine.read()
    mine.close()

    assert (seen.run_queue_ns, seen.read_bytes, seen.read_chars, seen.read_calls) == (None,) * 4
    assert (seen.major_faults, seen.yields) == (0, 0)
    assert seen.cpu_ns > 0


@pytest.mark.parametrize("text", [b"", b"garbled", b"one two three four"])
def test_a_file_of_another_form_is_read_no_more(
    text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Counters(whole_process_io=True)
    descriptors = [mine._schedstat, mine._io]
    monkeypatch.setattr(os, "pread", lambda *_: text)

    seen = mine.read()

    assert (seen.run_queue_ns, seen.read_bytes) == (None, None)
    assert (mine._schedstat, mine._io) == (None, None)
    for descriptor in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor or 0)


def test_closing_twice_is_harmless() -> None:
    mine = Counters(whole_process_io=True)
    mine.close()
    mine.close()

    assert mine.read().read_bytes is None
