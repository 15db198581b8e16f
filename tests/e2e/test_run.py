"""`wellfed run` runs a script as Python does, but for who makes its batches."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from runs import SCRIPTS, Ran, environment, python, run

TRAINS = """
import sys

import torch
from torch.utils.data import DataLoader, Dataset


class Squares(Dataset):
    def __len__(self):
        return 20

    def __getitem__(self, index):
        return torch.tensor(index**2), torch.rand(())


if __name__ == "__main__":
    torch.manual_seed(1)
    loader = DataLoader(Squares(), batch_size=3, shuffle=True, num_workers=2)
    assert type(loader) is DataLoader
    for _ in range(2):
        batches = iter(loader)
        print("made by", getattr(batches, "backend", "torch"), file=sys.stderr)
        print([(squares.tolist(), draws.tolist()) for squares, draws in batches])
    print(sys.argv[1:], __name__, torch.rand(()).item())
    sys.exit(5)
"""


def ours(folder: Path, *words: str) -> Ran:
    return run([sys.executable, "-m", "wellfed", "run", *words], folder)


def test_an_unmodified_script_trains_on_the_engine(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAINS)

    plain = python(tmp_path, "train.py", "--lr", "0.1")
    served = ours(tmp_path, "train.py", "--lr", "0.1")

    assert plain.said == "made by torch\n" * 2
    assert served.said == "made by processes\n" * 2
    assert (served.code, served.out) == (plain.code, plain.out)
    assert served.code == 5


def test_a_module_trains_on_the_engine(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAINS)

    served = ours(tmp_path, "-m", "train", "-m", "x")

    assert served.said == "made by processes\n" * 2
    assert "['-m', 'x'] __main__" in served.out


@pytest.mark.parametrize("way", ["message", "code", "cause", "hooked", "own_interrupt", "import"])
def test_a_script_fails_as_it_does_in_python(tmp_path: Path, way: str) -> None:
    script = str(SCRIPTS / "failing.py")

    plain = python(tmp_path, script, way)
    served = ours(tmp_path, script, way)

    assert (served.code, served.out, served.said) == (plain.code, plain.out, plain.said)
    assert served.told == ""


def test_a_script_that_needs_no_torch_gets_none(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import sys; sys.exit('torch' in sys.modules)")

    assert ours(tmp_path, "train.py").code == 0


def test_ctrl_c_ends_it_with_its_own_traceback(tmp_path: Path) -> None:
    (tmp_path / "wait.py").write_text(
        "print('here', flush=True)\nimport time\nwhile True: time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "wellfed", "run", "wait.py"],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert err.endswith("KeyboardInterrupt\n")
    assert err.count("File") == 1


def test_processes_that_the_script_starts_train_on_the_engine_too(tmp_path: Path) -> None:
    script = str(SCRIPTS / "spawning.py")

    plain = python(tmp_path, script)
    served = ours(tmp_path, script)

    assert (served.code, served.said) == (plain.code, plain.said) == (0, "")
    assert served.out.count(": processes [") == 5
    lines = served.out.replace(": processes [", ": torch [").splitlines()
    assert sorted(lines) == sorted(plain.out.splitlines())


def test_no_script_is_a_usage_error(tmp_path: Path) -> None:
    served = ours(tmp_path)

    assert served.code == 2
    assert "Write: wellfed run train.py" in served.told
