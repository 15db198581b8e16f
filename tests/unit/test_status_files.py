"""Status files are their owner's alone, and no file in their folder can hurt who reads them."""

import gc
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from statuses import loader_status, trainer_status
from wellfed import _status
from wellfed._status import StatusFile, folders, lives, read_all, sweep
from wellfed.records import encode


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's runtime directory; status files lie in a folder of it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tmp_path.chmod(0o700)
    return tmp_path


def written(runtime: Path) -> tuple[StatusFile, Path]:
    file = StatusFile()
    file(loader_status())
    (path,) = (runtime / "wellfed").iterdir()
    return file, path


def planted(runtime: Path, data: bytes, name: str | None = None) -> Path:
    """A file that says it is ours."""
    folder = runtime / "wellfed"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / (name or f"{os.getpid()}-{_status._start_ticks(os.getpid())}-0.status")
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def whole(body: bytes) -> bytes:
    return (b"%08x %08x" % (len(body), zlib.crc32(body))).ljust(32) + body


def test_what_is_written_is_read(runtime: Path) -> None:
    _file, _path = written(runtime)

    (seen,) = read_all()

    assert seen.loader == loader_status()
    assert seen.pid == os.getpid()
    assert lives(seen.pid, seen.start_ticks)
    assert seen.command[0]


def test_a_shorter_status_takes_the_place_of_a_longer_one(runtime: Path) -> None:
    file, _path = written(runtime)
    file(loader_status(worker_status=(), site=""))

    (seen,) = read_all()

    assert seen.loader.worker_status == ()


def test_file_and_folder_are_closed_to_all_others(runtime: Path) -> None:
    _file, path = written(runtime)

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_the_file_goes_with_its_loader(runtime: Path) -> None:
    file, path = written(runtime)
    del file
    gc.collect()

    assert not path.exists()


def test_nothing_is_written_where_the_folder_is_open_to_others(runtime: Path) -> None:
    (runtime / "wellfed").mkdir()
    (runtime / "wellfed").chmod(0o755)
    (runtime / f"wellfed-{os.getuid()}").mkdir()
    (runtime / f"wellfed-{os.getuid()}").chmod(0o777)

    StatusFile()(loader_status())

    assert read_all() == ()
    assert list(runtime.rglob("*.status")) == []


def test_a_runtime_directory_open_to_others_is_not_used(runtime: Path) -> None:
    runtime.chmod(0o755)

    _file = StatusFile()
    _file(loader_status())

    assert folders()[-1] == runtime / f"wellfed-{os.getuid()}"
    assert not (runtime / "wellfed").exists()
    assert len(read_all()) == 1


def test_a_folder_that_is_a_link_is_not_used(runtime: Path) -> None:
    (runtime / "elsewhere").mkdir(mode=0o700)
    (runtime / "wellfed").symlink_to("elsewhere")

    _file = StatusFile()
    _file(loader_status())

    assert list((runtime / "elsewhere").iterdir()) == []


HARMLESS = {
    "empty": b"",
    "no header": b"{}",
    "half written": whole(encode(trainer_status()))[:-40],
    "of another checksum": whole(encode(trainer_status())).replace(b"ana", b"eve"),
    "of another kind": whole(encode(loader_status())),
    "of a later version": whole(b'{"wellfed_schema":99,"kind":"TrainerStatus","record":{}}'),
    "no text": whole(b"\xff\xfe" * 50),
    "a length beyond all": b"ffffffff 00000000".ljust(32),
    "a length below zero": b"-0000001 00000000".ljust(32) + b"x",
}


@pytest.mark.parametrize("data", HARMLESS.values(), ids=HARMLESS)
def test_a_file_that_is_no_status_is_passed_over(runtime: Path, data: bytes) -> None:
    planted(runtime, data)

    assert read_all() == ()


def test_a_link_a_pipe_and_a_folder_are_passed_over(runtime: Path) -> None:
    _file, path = written(runtime)
    os.mkfifo(path.with_name("1-1-1.status"), 0o600)
    path.with_name("1-1-2.status").symlink_to(path)
    path.with_name("1-1-3.status").mkdir(mode=0o700)

    assert len(read_all()) == 1


def test_a_file_that_others_may_read_is_passed_over(runtime: Path) -> None:
    _file, path = written(runtime)
    path.chmod(0o644)

    assert read_all() == ()


def test_what_an_ended_process_left_is_removed(runtime: Path) -> None:
    _file, path = written(runtime)
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait(timeout=30)
    left = planted(runtime, b"", f"{gone.pid}-1-1.status")
    other = planted(runtime, b"", "notes.txt")

    sweep(path.parent)

    assert not left.exists()
    assert path.exists()
    assert other.exists()


def test_a_later_process_of_the_same_pid_is_another(runtime: Path) -> None:
    left = planted(runtime, b"", f"{os.getpid()}-1-1.status")

    sweep(left.parent)

    assert not left.exists()


def test_a_forked_child_writes_a_file_of_its_own_and_leaves_its_parents(runtime: Path) -> None:
    file, path = written(runtime)
    pid = os.fork()
    if not pid:
        file(loader_status(site="child.py:1"))
        named = [one.name.startswith(f"{os.getpid()}-") for one in path.parent.iterdir()]
        os._exit(0 if sorted(named) == [False, True] else 1)

    assert os.waitpid(pid, 0)[1] == 0
    assert path.exists()
