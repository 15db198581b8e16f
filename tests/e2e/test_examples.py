"""Every example runs as its users run it, and without workers always comes to the same losses."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"
TRAINING = {
    "train_images.py": ("--batch-size=8",),
    "train_tensors.py": ("--rows=1000",),
    "train_remote.py": ("--latency-ms=1", "--objects=200"),
    "train_big_model.py": ("--width=8", "--blocks=1"),
}
# torch says so on a machine without an accelerator, and is right.
PINNING_IS_IDLE = "ignore:'pin_memory' argument is set as true but no accelerator is found"


def start(example: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", PINNING_IS_IDLE, str(EXAMPLES / example), *options]
    return subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/"
    )


def finish(*running: subprocess.Popen[str]) -> list[str]:
    """What each printed; all of them must have ended well and had nothing to complain of."""
    said = [process.communicate(timeout=60) for process in running]

    assert [(0, "")] * len(running) == [
        (process.returncode, stderr) for process, (_, stderr) in zip(running, said, strict=True)
    ]
    return [stdout for stdout, _ in said]


def losses(said: str) -> list[str]:
    return re.findall(r"loss (\S+)", said)


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data") / "jpegs"
    finish(start("make_jpegs.py", str(directory), "--images=60", "--classes=3"))
    return directory


# -- the pictures


def test_pictures_have_the_size_and_the_weight_of_photographs(jpegs: Path) -> None:
    files = sorted(jpegs.glob("class_*/*.jpg"))

    assert len(files) == 60
    assert [file.name for file in files[:2]] == ["000.jpg", "001.jpg"]
    assert 60_000 < sum(file.stat().st_size for file in files) / len(files) < 150_000
    for file in files:
        with Image.open(file) as picture:
            picture.load()
            assert picture.format == "JPEG"
            assert 440 <= picture.width <= 560
            assert 330 <= picture.height <= 420


def test_pictures_are_made_once(jpegs: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in jpegs.rglob("*")}

    (said,) = finish(start("make_jpegs.py", str(jpegs), "--images=60", "--classes=3"))

    assert "were already in" in said
    assert before == {file: file.stat().st_mtime_ns for file in jpegs.rglob("*")}


def test_two_runs_at_once_make_one_whole_directory(tmp_path: Path) -> None:
    command = ("make_jpegs.py", str(tmp_path / "jpegs"), "--images=8", "--classes=2")

    finish(start(*command), start(*command))

    assert [path.name for path in tmp_path.iterdir()] == ["jpegs"]
    assert len(list(tmp_path.glob("jpegs/*/*.jpg"))) == 8


def test_a_directory_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()

    process = start("make_jpegs.py", str(tmp_path), "--images=1")
    _, complaint = process.communicate(timeout=60)

    assert process.returncode == 1
    assert f"{tmp_path} holds something else" in complaint
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


# -- the training scripts


def train(example: str, jpegs: Path, *options: str) -> subprocess.Popen[str]:
    data = (f"--data={jpegs}",) if example == "train_images.py" else ()
    return start(example, "--epochs=2", "--steps=3", *TRAINING[example], *data, *options)


@pytest.mark.parametrize("example", TRAINING)
def test_it_repeats_its_losses_and_takes_every_setting(example: str, jpegs: Path) -> None:
    plain = ("--workers=0",)
    changed = ("--workers=2", "--prefetch=3", "--pin-memory", "--persistent")
    # All at once: most of their time goes into importing torch.
    runs = [train(example, jpegs, *options) for options in (plain, plain, changed)]

    first, second, other = map(losses, finish(*runs))

    assert first == second
    assert len(first) == len(other) == 2  # one an epoch


def test_pictures_are_made_where_there_are_none(tmp_path: Path) -> None:
    fewer = "import train_images as t; t.make_jpegs.__defaults__ = (6, 2, 0); t.main()"
    data = tmp_path / "not" / "there"
    command = [sys.executable, "-c", fewer, f"--data={data}", "--epochs=1", "--batch-size=2"]

    said = subprocess.run(command, cwd=EXAMPLES, check=True, capture_output=True, text=True)

    assert len(losses(said.stdout)) == 1
    assert len(list(data.glob("*/*.jpg"))) == 6


@pytest.mark.parametrize("example", TRAINING)
def test_our_loader_brings_it_to_the_losses_of_torchs(example: str, jpegs: Path) -> None:
    settings = ("--epochs=1", "--workers=2")
    runs = [train(example, jpegs, *settings, f"--loader={of}") for of in ("torch", "wellfed")]

    torchs, ours = map(losses, finish(*runs))

    assert torchs == ours
    assert len(ours) == 1


def test_objects_in_a_remote_store_are_fetched_by_threads_when_asked_for_auto(jpegs: Path) -> None:
    settings = ("--epochs=1", "--loader=wellfed", "--workers=auto", "--latency-ms=5")

    (said,) = finish(train("train_remote.py", jpegs, *settings))

    assert len(losses(said)) == 1


@pytest.mark.parametrize("example", TRAINING)
def test_an_example_knows_us_by_one_import_and_not_by_default(example: str) -> None:
    code = (EXAMPLES / example).read_text()

    assert code.count("import DataLoader") == code.count("from wellfed import DataLoader") + 1 == 2
    assert re.search(r"\bimport wellfed\b", code) is None
    assert '"--loader", choices=("torch", "wellfed"), default="torch"' in code
