"""Where a worker is: its user's line among stacks, or what the kernel says."""

from pathlib import Path

import pytest

from wellfed._engine import worker
from wellfed._engine.stuck import held_by_kernel, line_of

ENGINE = Path(worker.__file__).parent

OTHER = """Thread 0x1 (most recent call first):
  File "/home/u/watch.py", line 3 in look
  File "/usr/lib/python3/threading.py", line 9 in run
"""


def worker_thread(*frames: str) -> str:
    lines = [f"  {frame}" for frame in frames]
    below = [
        f'  File "{ENGINE}/making.py", line 99 in _fetch',
        f'  File "{ENGINE}/worker.py", line 90 in run',
    ]
    return "\n".join(["Current thread 0x2 (most recent call first):", *lines, *below, ""])


def test_the_deepest_line_of_the_users_is_named() -> None:
    stacks = (
        OTHER
        + "\n"
        + worker_thread(
            'File "/x/site-packages/h5py/files.py", line 500 in read',
            'File "/home/u/train.py", line 12 in __getitem__',
            'File "/home/u/base.py", line 7 in get',
        )
    )

    assert line_of(stacks) == "/home/u/train.py:12 in __getitem__"


def test_a_thread_for_samples_is_looked_at() -> None:
    gang = f"""Thread 0x3 (most recent call first):
  File "/home/u/train.py", line 12 in __getitem__
  File "{ENGINE}/gang.py", line 110 in _fetch
"""

    assert line_of(OTHER + "\n" + gang) == "/home/u/train.py:12 in __getitem__"


def test_a_librarys_line_is_better_than_none() -> None:
    stacks = worker_thread('File "/x/site-packages/h5py/files.py", line 500 in read')

    assert line_of(stacks) == "/x/site-packages/h5py/files.py:500 in read"


@pytest.mark.parametrize("stacks", ["", "nonsense", OTHER, worker_thread()])
def test_there_may_be_no_line(stacks: str) -> None:
    assert line_of(stacks) == ""


def proc(folder: Path, state: str, wchan: str) -> Path:
    (folder / "7").mkdir()
    (folder / "7" / "stat").write_text(f"7 (a) b) {state} 1 7")
    (folder / "7" / "wchan").write_text(wchan)
    return folder


def test_a_file_system_that_does_not_answer_is_named(tmp_path: Path) -> None:
    found = held_by_kernel(7, proc(tmp_path, "D", "nfs_wait_bit_killable"))

    assert found == "the kernel, which waits in nfs_wait_bit_killable"


def test_where_the_kernel_hides_its_place_the_wait_is_named(tmp_path: Path) -> None:
    assert held_by_kernel(7, proc(tmp_path, "D", "0")) == "the kernel, which waits for a device"


def test_a_sleeping_process_is_not_the_kernels(tmp_path: Path) -> None:
    assert held_by_kernel(7, proc(tmp_path, "S", "do_nanosleep")) == ""


def test_a_process_that_has_gone_is_no_error(tmp_path: Path) -> None:
    assert held_by_kernel(7, tmp_path) == ""
