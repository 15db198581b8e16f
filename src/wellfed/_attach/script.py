"""Runs a script or a module in this process, as `python script.py` or `python -m module` would.

What the script sees is what it would see without us: `__main__` is its own module, `sys.argv` and
`sys.path[0]` are its own, relative files resolve, and its exit code and traceback are its own.
"""

import builtins
import importlib.util
import io
import os
import pkgutil
import signal
import sys
import threading
from dataclasses import dataclass
from importlib.machinery import FileFinder, ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

from wellfed._engine.watch.stopping import StopWatching
from wellfed.errors import UsageError

__all__ = ["Ended", "run_script"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a script ended by itself."""

    code: int = 0
    """Its exit code."""
    error: BaseException | None = None
    """What it raised, if it did."""


def run_script(target: str, args: list[str], *, module: bool = False) -> Ended:
    """Run it to its end.

    Args:
        target: path of a script, or the name of a module.
        args: its own arguments.
        module: whether `target` names a module.

    Returns:
        How it ended. StopWatching and KeyboardInterrupt pass through.

    Raises:
        UsageError: there is no such script or module.
    """
    sys.argv = [target, *args]
    try:
        code, main = _open_module(target) if module else _open_file(target)
        # It stays __main__ after it ended: its threads, atexit handlers and pickles need it still.
        sys.modules["__main__"] = main
        exec(code, main.__dict__)
    except (_NoScript, StopWatching, KeyboardInterrupt):
        raise
    except SystemExit as leaving:
        return Ended(code=_exit_code(leaving.code))
    except BaseException as error:
        _hear_of_no_more_deaths()
        return Ended(code=1, error=error)
    return Ended()


def _hear_of_no_more_deaths() -> None:
    """Take torch's handler of SIGCHLD away: the script has its error.

    It raises in whatever runs, whenever any child ends, as long as it knows of a worker that died.
    """
    handler = signal.getsignal(signal.SIGCHLD)
    torchs = getattr(handler, "__module__", "") == "torch.utils.data._utils.signal_handling"
    if torchs and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _open_file(path: str) -> tuple[CodeType, ModuleType]:
    """The code and the module of a script, or of a folder or zip file with a `__main__.py`."""
    full = os.path.abspath(path)
    if os.path.isdir(full) or not isinstance(pkgutil.get_importer(full), FileFinder | None):
        _put_first_on_path(full)
        return _open_spec(PathFinder.find_spec("__main__", [full]), path)
    try:
        with io.open_code(full) as file:
            source = file.read()
    except OSError as error:
        raise _NoScript(
            f"cannot open the script {path!r}: {error.strerror}. Give its path as python takes it."
        ) from error
    _put_first_on_path(os.path.dirname(os.path.realpath(full)))
    code = compile(source, full, "exec", dont_inherit=True)
    return code, _main(full, loader=SourceFileLoader("__main__", full))


def _open_module(name: str) -> tuple[CodeType, ModuleType]:
    """The code and the module of what `python -m name` runs."""
    _put_first_on_path(os.getcwd())
    spec = _find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = _find_spec(f"{name}.__main__")
    code, main = _open_spec(spec, name)
    sys.argv[0] = main.__dict__["__file__"]
    return code, main


def _find_spec(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        # A package of the name itself is missing; any other is missed by the user's own code.
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            return None
        raise


def _open_spec(spec: ModuleSpec | None, wanted: str) -> tuple[CodeType, ModuleType]:
    loader: Any = spec.loader if spec is not None else None
    code = loader.get_code(spec.name) if spec is not None and loader is not None else None
    if spec is None or code is None:
        raise _NoScript(f"cannot find a module to run in {wanted!r}. Name it as python takes it.")
    return code, _main(str(spec.origin), loader, spec=spec, package=spec.parent, cached=spec.cached)


def _main(
    file: str,
    loader: Any,
    *,
    spec: ModuleSpec | None = None,
    package: str | None = None,
    cached: str | None = None,
) -> ModuleType:
    """An empty `__main__` with the attributes that Python gives it."""
    main = ModuleType("__main__")
    main.__dict__.update(
        __annotations__={},
        __builtins__=builtins,
        __cached__=cached,
        __file__=file,
        __loader__=loader,
        __package__=package,
        __spec__=spec,
    )
    return main


def _put_first_on_path(folder: str) -> None:
    # Python put wellfed's own folder first, unless it was told to trust none (-P, -I).
    if not (getattr(sys.flags, "safe_path", False) or sys.flags.isolated):
        sys.path[0] = folder


class _NoScript(UsageError):
    """Raised before any line of the user's ran."""


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    sys.stdout.flush()
    print(code, file=sys.stderr)  # noqa: T201 - what Python does with sys.exit("message")
    return 1
