"""Runs a script or a module in this process, as `python script.py` or `python -m module` would.

What the script sees is what it would see without us: `__main__` is its own module, `sys.argv` and
`sys.path[0]` are its own, relative files resolve, and its exit code and traceback are its own.
"""

import builtins
import io
import os
import runpy
import sys
import types
from dataclasses import dataclass

from wellfed.errors import UsageError

__all__ = ["Ended", "run_script"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a script ended by itself."""

    code: int = 0
    """Its exit code."""
    error: BaseException | None = None
    """What it raised, if it did; its traceback begins at the script's own first line."""


def run_script(target: str, args: list[str], *, module: bool = False) -> Ended:
    """Run it to its end.

    Args:
        target: path of a script, or the name of a module.
        args: its own arguments.
        module: whether `target` names a module.

    Returns:
        How it ended. BaseExceptions that are neither SystemExit nor the script's own pass through.

    Raises:
        UsageError: there is no such script or module.
    """
    sys.argv = [target, *args]
    try:
        _run_module(target) if module else _run_file(target)
    except SystemExit as leaving:
        return Ended(code=_exit_code(leaving.code))
    except Exception as error:
        return Ended(code=1, error=error)
    return Ended()


def _run_file(path: str) -> None:
    if not os.path.exists(path):
        raise _NoScript(f"cannot find the script {path!r}. Give its path as python would take it.")
    if os.path.isdir(path):
        sys.path.insert(0, path)
        runpy.run_path(path, run_name="__main__")
        return
    sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    with io.open_code(os.path.abspath(path)) as file:
        code = compile(file.read(), path, "exec")
    main = types.ModuleType("__main__")
    main.__dict__.update(
        __file__=os.path.abspath(path), __builtins__=builtins, __cached__=None, __package__=None
    )
    # It stays __main__ after it ended: its threads, atexit handlers and pickles still need it.
    sys.modules["__main__"] = main
    exec(code, main.__dict__)


def _run_module(name: str) -> None:
    sys.path.insert(0, os.getcwd())
    from importlib.util import find_spec

    try:
        found = find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise _NoScript(
            f"cannot find the module {name!r}. Give its name as python -m would take it."
        )
    runpy.run_module(name, run_name="__main__", alter_sys=True)


class _NoScript(UsageError):
    """Raised before any line of the user's ran."""


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    print(code, file=sys.stderr)  # noqa: T201 - what Python does with sys.exit("message")
    return 1
