"""Settings behind `--sweep` are its own, as far as the script; what follows is the script's."""

from typing import Any

import pytest
import typer

from wellfed._cli import app


def parsed(command: str, *words: str) -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    context = group.commands[command].make_context(command, list(words))
    return dict(context.params)


@pytest.mark.parametrize(
    "words",
    [
        ("--sweep", "num_workers=0,2", "pin_memory=0,1"),
        ("--sweep", "num_workers=0,2", "--sweep", "pin_memory=0,1"),
        ("--sweep=num_workers=0,2", "--sweep=pin_memory=0,1"),
    ],
)
def test_settings_may_stand_behind_one_another(words: tuple[str, ...]) -> None:
    found = parsed("tune", *words, "--budget", "9", "train.py", "--sweep", "a=1", "b=2")

    assert list(found["sweep"]) == ["num_workers=0,2", "pin_memory=0,1"]
    assert found["budget"] == 9.0
    assert list(found["command"]) == ["train.py", "--sweep", "a=1", "b=2"]


def test_a_module_and_its_words_are_left_alone() -> None:
    found = parsed("tune", "--sweep", "num_workers=0,2", "-m", "pack.train", "--sweep", "a=1")

    assert list(found["sweep"]) == ["num_workers=0,2"]
    assert found["module"] == "pack.train"
    assert list(found["command"]) == ["--sweep", "a=1"]
