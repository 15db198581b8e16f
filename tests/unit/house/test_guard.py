"""The guards in tests/conftest.py can fail."""

import shutil
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parents[2] / "conftest.py"


def run(folder: Path, test: str) -> subprocess.CompletedProcess[str]:
    """One session of its own, under a copy of our conftest and a list with one entry."""
    shutil.copy(CONFTEST, folder)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    moon: needs a full moon\n")
    (folder / "allowed_skips.txt").write_text("# the list\nmoon: no full moon\n")
    (folder / "test_it.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_listed_skip_leaves_the_session_green(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "import pytest\n\n@pytest.mark.moon\ndef test_it():\n    pytest.skip('no full moon')\n",
    )

    assert done.returncode == 0, done.stdout


def test_an_unlisted_skip_fails_the_session_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "test_whole.py").write_text(
        "import pytest\n\npytest.skip('whole module', allow_module_level=True)\n"
    )

    done = run(
        tmp_path,
        """import pytest

def test_passes(): pass

def test_without_marker(): pytest.skip("no full moon")

@pytest.mark.moon
def test_other_reason(): pytest.skip("too tired")

@pytest.mark.skip("by mark")
def test_by_mark(): pass

@pytest.mark.moon
def test_listed(): pytest.skip("no full moon")
""",
    )
    _, named = done.stdout.split("skips that are not in tests/allowed_skips.txt")

    assert done.returncode == 1, done.stdout
    assert "test_it.py::test_without_marker: no full moon" in named
    assert "test_it.py::test_other_reason: too tired" in named
    assert "test_it.py::test_by_mark: by mark" in named
    assert "test_whole.py: whole module" in named
    assert "test_listed" not in named.split("short test summary")[0]


def test_a_process_left_behind_fails_the_test_that_left_it(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "import subprocess\n\nkept = []\n\n"
        "def test_it():\n    kept.append(subprocess.Popen(['sleep', '5']))\n\n"
        "def test_next():\n    kept.pop().kill()\n",
    )

    assert done.returncode == 1, done.stdout
    assert "child processes left behind" in done.stdout
    assert "1 error" in done.stdout
