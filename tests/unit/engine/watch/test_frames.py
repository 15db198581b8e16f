"""Lines are told apart by whose they are, and tracebacks show the user's and torch's alone."""

import os
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
import torch

import wellfed
from wellfed._engine.watch import frames
from wellfed._engine.watch.frames import building_site, is_ours, is_users, strip_error, without_ours

ENGINE = os.path.join(os.path.dirname(wellfed.__file__), "_engine", "stock.py")
EXAMPLE = os.path.join(os.path.dirname(wellfed.__file__), "_examples", "train.py")
STDLIB = os.path.join(sysconfig.get_paths()["stdlib"], "queue.py")


def function(source: str, file: str, **names: Any) -> Any:
    """The function `f` of `source`, as if it stood in `file`."""
    code: CodeType = compile(source, file, "exec")
    exec(code, names)
    return names["f"]


@pytest.mark.parametrize(
    ("file", "ours", "users"),
    [
        (ENGINE, True, False),
        (EXAMPLE, False, True),
        (STDLIB, False, False),
        (torch.__file__, False, False),
        ("/home/me/.local/lib/python3.11/site-packages/lib.py", False, False),
        ("/home/me/train.py", False, True),
        ("<string>", False, False),
    ],
)
def test_whose_a_file_is(file: str, ours: bool, users: bool) -> None:
    assert (is_ours(file), is_users(file)) == (ours, users)


# -- the line that builds a loader


class Loader:
    site: Any

    def __init__(self) -> None:
        self.site = building_site(sys._getframe(), self)


class Special(Loader):
    def __init__(self) -> None:
        super().__init__()


def test_a_subclass_is_told_by_the_line_that_makes_it() -> None:
    def build() -> Loader:
        return Special()

    first, second = build(), build()
    line = build.__code__.co_firstlineno + 1

    site, chain = first.site
    assert (site.file, site.line, site.function) == (__file__, line, "build")
    assert chain[0] == f"{__file__}:{line}"
    # One helper function builds both: the lines that called it differ at most in number.
    assert second.site[0] == site


def test_loaders_that_one_function_builds_differ_in_their_chains() -> None:
    def build() -> Loader:
        return Loader()

    train = build()
    val = build()

    assert train.site[0] == val.site[0]
    assert train.site[1] != val.site[1]


def test_a_librarys_line_stands_in_where_there_is_none_of_the_users() -> None:
    library = os.path.join(sysconfig.get_paths()["purelib"], "trainer", "loop.py")
    inner = function("def f(look): return look()", torch.__file__)
    outer = function("def f(inner, look): return inner(look)", library)
    found: list[Any] = []

    def look() -> None:
        frame = sys._getframe(1)
        # As at the bottom of a thread of the library's own.
        found.append(frames.building_site(_Cut(frame, 2), None))  # type: ignore[arg-type]

    outer(inner, look)
    ((site, chain),) = found

    assert site.file == library
    assert chain == ()


class _Cut:
    """A frame whose chain ends after so many."""

    def __init__(self, frame: Any, left: int) -> None:
        self.f_code, self.f_locals, self.f_lineno = frame.f_code, frame.f_locals, frame.f_lineno
        self.f_back = _Cut(frame.f_back, left - 1) if left > 1 else None


def test_no_frame_gives_no_site() -> None:
    assert building_site(None, None) == (None, ())


# -- tracebacks


def fail() -> None:
    raise ValueError("the user's")


def through_us(inner: Callable[[], None]) -> None:
    ours = function("def f(inner): inner()", ENGINE)
    theirs = function("def f(ours, inner): ours(inner)", STDLIB)
    ours(lambda: theirs(ours, inner))


def test_a_text_loses_our_frames_and_nothing_else() -> None:
    with pytest.raises(ValueError, match="the user's") as caught:
        through_us(fail)
    text = "".join(traceback.format_exception(caught.value))

    cleaned = without_ours(text)

    assert ENGINE in text
    assert ENGINE not in cleaned
    theirs = [line for line in text.splitlines() if 'File "' in line and ENGINE not in line]
    assert [line for line in cleaned.splitlines() if 'File "' in line] == theirs
    assert cleaned.startswith("Traceback (most recent call last):\n")
    assert cleaned.endswith("ValueError: the user's\n")


def test_a_text_without_our_frames_stays_as_it_is() -> None:
    text = 'Traceback (most recent call last):\n  File "/a.py", line 1, in f\n    x\nE: 1\n'

    assert without_ours(text) == text


def files(error: BaseException) -> list[str]:
    return [frame.filename for frame in traceback.extract_tb(error.__traceback__)]


def test_an_exception_loses_our_frames_in_all_that_led_to_it() -> None:
    def chain() -> None:
        try:
            through_us(fail)
        except ValueError as error:
            raise KeyError("later") from error

    with pytest.raises(KeyError) as caught:
        through_us(chain)
    error = caught.value
    cause = error.__cause__
    assert cause is not None
    before = files(error) + files(cause)

    strip_error(error)

    assert ENGINE in before
    assert files(error) + files(cause) == [file for file in before if file != ENGINE]
    assert Path(files(cause)[-1]) == Path(__file__)


def test_exceptions_that_lead_to_each_other_are_cleaned_too() -> None:
    first, second = ValueError(1), ValueError(2)
    first.__context__, second.__cause__ = second, first

    strip_error(first)

    assert first.__traceback__ is None
