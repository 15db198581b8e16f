"""What a user's code raises in a worker is raised in the trainer in torch's type and words."""

import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
import torch
from torch._utils import ExceptionWrapper

from wellfed._engine.failures import packed_failure, raise_failure


class Plain(Exception):
    pass


class TwoArguments(Exception):
    def __init__(self, what: str, which: int) -> None:
        super().__init__(what, which)


class KeywordOnly(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")


class WithMessage(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NoText(Exception):
    def __str__(self) -> str:
        return ""


def with_attribute() -> Exception:
    error = ValueError("has a lock of its own")
    error.lock = lambda: None  # type: ignore[attr-defined]
    return error


def local() -> Exception:
    class Local(Exception):
        pass

    return Local("nobody can import me")


ERRORS: dict[str, Callable[[], BaseException]] = {
    "a ValueError": lambda: ValueError("bad\nvalue"),
    "a KeyError": lambda: KeyError("missing"),
    "a KeyError of a number": lambda: KeyError(3),
    "an IndexError": lambda: IndexError("sample 9 of 8"),
    "an OSError": lambda: FileNotFoundError(2, "No such file", "a.jpg"),
    "a UnicodeError": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    "a StopIteration": lambda: StopIteration("in a map"),
    "a class of the user's": lambda: Plain("of mine"),
    "one of two arguments": lambda: TwoArguments("sample", 3),
    "one of keywords": lambda: KeywordOnly(code=4),
    "one with a message": lambda: WithMessage("said"),
    "one without a text": NoText,
    "one with what cannot be pickled": with_attribute,
    "one with several arguments": lambda: RuntimeError("a", 1, ["b"]),
}


def torchs(error: BaseException) -> Exception:
    """What torch raises in its place."""
    wrapper: Any = ExceptionWrapper
    try:
        raise error
    except BaseException:
        wrapped = wrapper(where="in DataLoader worker process 3")
    return raised(wrapped.reraise)


def ours(error: BaseException, index: Any = None) -> Exception:
    try:
        raise error
    except BaseException:
        body = packed_failure(3, index)
    return raised(lambda: raise_failure(body))


def raised(call: Callable[[], NoReturn]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def words(error: BaseException) -> list[str]:
    """Its text without the lines that say where in this file it was raised."""
    said = str(error).replace("\\n", "\n").splitlines()
    return [line for line in said if not line.startswith("  ")]


@pytest.mark.parametrize("kind", ERRORS)
def test_an_exception_has_torchs_type_and_text(kind: str) -> None:
    expected, actual = torchs(ERRORS[kind]()), ours(ERRORS[kind]())

    assert type(actual) is type(expected)
    assert words(actual) == words(expected)


def test_the_text_shows_where_the_users_code_raised() -> None:
    error = ours(ValueError("here"))

    assert str(error).startswith("Caught ValueError in DataLoader worker process 3.")
    assert "in ours\n    raise error\n" in str(error)
    assert str(error).endswith("ValueError: here\n")


def test_a_class_that_cannot_be_pickled_becomes_a_runtime_error_with_its_text() -> None:
    """Torch's worker would lose it, and the trainer wait for ever."""
    error = ours(local(), index=5)

    assert type(error) is RuntimeError
    assert "Local: nobody can import me" in str(error)


def notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", []))


@pytest.mark.parametrize("index", [0, 7, "name", ("a", 1), torch.tensor(3)], ids=str)
def test_a_note_names_the_sample(index: Any) -> None:
    error = ours(ValueError("bad"), index)

    if hasattr(error, "add_note"):
        assert notes(error) == [f"raised by the sample with index {index!r}"]
        assert notes(error)[0] in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "index", [None, lambda: None], ids=["none in particular", "one that cannot be pickled"]
)
def test_there_is_no_note_where_the_sample_is_not_known(index: Any) -> None:
    error = ours(ValueError("bad"), index)

    assert type(error) is ValueError
    assert notes(error) == []


@pytest.mark.parametrize("kind", ["one of two arguments", "one of keywords"])
def test_the_note_is_there_also_where_the_type_cannot_be_built(kind: str) -> None:
    error = ours(ERRORS[kind](), index=5)

    assert type(error) is RuntimeError
    if hasattr(error, "add_note"):
        assert notes(error) == ["raised by the sample with index 5"]
