"""A script cannot tell that it is watched: it sees, prints and returns what it does in Python."""

import os
import shutil
import signal
import subprocess
import zipfile
from pathlib import Path

import pytest
from runs import SCRIPTS, command_of, diagnose, environment, line_marked, python

from wellfed.records import Report, load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "relative.txt").write_text("found")
    return tmp_path


# -- what it sees


@pytest.mark.parametrize("absolute", [True, False])
def test_a_script_sees_itself_as_python_shows_it(folder: Path, absolute: bool) -> None:
    shutil.copytree(SCRIPTS, folder / "src")
    script = str(folder / "src/facts.py") if absolute else "src/facts.py"

    plain = python(folder, script, "--json", "-m", "x", "--", "y")
    ours = diagnose(folder, script, "--json", "-m", "x", "--", "y")

    assert plain.code == ours.code == 7
    assert plain.out == ours.out
    assert '"relative file": "found"' in ours.out
    assert "leaving Local True" in ours.out


def test_nothing_heavy_is_imported_before_the_script_does(folder: Path) -> None:
    """It may set OMP_NUM_THREADS before its own `import numpy`."""
    (folder / "first.py").write_text(
        "import sys; print([one for one in ('numpy', 'torch') if one in sys.modules])"
    )

    ours = diagnose(folder, "first.py")

    assert ours.out == "[]\n"


@pytest.mark.parametrize("name", ["package", "package.module"])
def test_a_module_sees_itself_as_python_shows_it(folder: Path, name: str) -> None:
    shutil.copytree(SCRIPTS / "package", folder / "package")

    plain = python(folder, "-m", name, "--epochs", "1", "-m", "x")
    ours = diagnose(folder, "-m", name, "--epochs", "1", "-m", "x")

    assert plain.code == 0
    assert plain.out == ours.out
    assert ours.code == 3
    assert "torch was never imported" in ours.told


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_folder_and_a_zip_file_run_their_main(folder: Path, kind: str) -> None:
    text = (
        "import sys; print(__name__, __file__, __package__, __spec__.name, sys.argv, sys.path[0])"
    )
    if kind == "folder":
        (folder / "app").mkdir()
        (folder / "app/__main__.py").write_text(text)
    else:
        with zipfile.ZipFile(folder / "app", "w") as archive:
            archive.writestr("__main__.py", text)

    assert python(folder, "app", "x").out == diagnose(folder, "app", "x").out != ""


def test_wellfed_hides_no_module_of_the_script(folder: Path) -> None:
    (folder / "train.py").write_text("import sys; sys.exit('torch' in sys.modules)")

    ours = diagnose(folder, "train.py")

    assert ours.code == 3


# -- how it ends


@pytest.mark.parametrize("way", ["message", "code", "cause", "hooked", "own_interrupt", "import"])
def test_a_script_fails_as_it_does_in_python(folder: Path, way: str) -> None:
    script = str(SCRIPTS / "failing.py")

    plain = python(folder, script, way)
    ours = diagnose(folder, script, way)

    assert (plain.code, plain.out, plain.said) == (ours.code, ours.out, ours.said)
    assert "the script failed by itself" in ours.told


def test_a_script_that_python_cannot_read_fails_as_it_does_in_python(folder: Path) -> None:
    (folder / "train.py").write_text("loader = (\n")

    plain = python(folder, "train.py")
    ours = diagnose(folder, "train.py")

    assert plain.code == ours.code == 1
    assert "was never closed" in ours.said
    assert plain.said == ours.said


def test_a_module_that_fails_shows_its_own_lines_only(folder: Path) -> None:
    (folder / "train.py").write_text("from package import missing\n")
    (folder / "package.py").write_text("")

    ours = diagnose(folder, "-m", "train")

    assert ours.code == 1
    assert ours.said.count('File "') == 1
    assert "cannot import name 'missing'" in ours.said


def test_a_script_that_forks_itself_is_judged_once(folder: Path) -> None:
    script = "import os, sys\nchild = os.fork()\nif child: os.wait()\nprint('here')\n"
    (folder / "train.py").write_text(script)

    ours = diagnose(folder, "train.py")

    assert ours.out == "here\nhere\n"
    assert ours.told.count("torch was never imported") == 1


def test_ctrl_c_shows_what_is_known_so_far(folder: Path) -> None:
    script = SCRIPTS / "endless.py"
    command = command_of(folder, str(script))
    with subprocess.Popen(
        command,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        while process.stdout.readline() not in ("trained enough\n", ""):
            pass
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of its processes
        out, err = process.communicate(timeout=60)

    report: Report = load(folder / "report.json")
    assert process.returncode in (0, 3)
    assert process.returncode != -signal.SIGINT
    assert "interrupted; this is what is known so far" in err
    # Not "Traceback": a worker whose tensor was being taken when the interrupt came says so itself.
    assert "KeyboardInterrupt" not in err
    assert f'File "{script}"' not in err
    assert report.trace.ended_because == "interrupted"
    assert str(report.trace.site) == line_marked(script)
    assert "VERDICT" in out
