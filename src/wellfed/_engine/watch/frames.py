"""Whose line is it: the user's, a library's or ours. For sites and for clean tracebacks."""

import os
import re
import sys
import sysconfig
from types import FrameType, TracebackType

from wellfed import records
from wellfed.records import Site

__all__ = ["building_site", "is_ours", "is_users", "strip_error", "strip_traceback", "without_ours"]

# The package's own folder, wherever inside it this file stands.
_HERE = os.path.dirname(os.path.dirname(os.path.abspath(records.__file__))) + os.sep
_PATHS = sysconfig.get_paths()
_LIBRARIES = tuple(
    os.path.realpath(_PATHS[name]) + os.sep
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
    if name in _PATHS
)

_SITE = re.compile(r"[/\\](?:site|dist)-packages[/\\]")

# Frames of the user's own code that tell one loader from another. Eight reach from the line that
# built it through the helper functions of a usual project.
MOST_FRAMES = 8


def is_ours(file: str) -> bool:
    """Whether the file is wellfed's own (its examples are not: they are training scripts)."""
    return file.startswith(_HERE) and not file.startswith(_HERE + "_examples" + os.sep)


def is_users(file: str) -> bool:
    """Whether the file is neither ours nor in the standard library or site-packages."""
    if is_ours(file) or file.startswith("<"):
        return False
    # Beside this interpreter's own folders there are the user's site (~/.local) and Debian's.
    library = os.path.realpath(file).startswith(_LIBRARIES) or _SITE.search(file) is not None
    return not library or "_examples" in file


def building_site(frame: FrameType | None, built: object) -> tuple[Site | None, tuple[str, ...]]:
    """The user's line that is building `built`, and the chain of user's lines above it.

    Constructors of the object itself are passed over, so that a subclass is told by the line that
    makes it. The innermost line of the user's own code is the site; without any, the innermost
    line outside torch. The chain tells loaders apart that one helper function builds.
    """
    chain: list[Site] = []
    fallback: Site | None = None
    while frame is not None and len(chain) < MOST_FRAMES:
        code = frame.f_code
        own = code.co_name == "__init__" and frame.f_locals.get("self") is built
        if not own and not is_ours(code.co_filename):
            here = Site(file=code.co_filename, line=frame.f_lineno, function=code.co_name)
            if is_users(code.co_filename):
                chain.append(here)
            elif fallback is None and f"{os.sep}torch{os.sep}" not in code.co_filename:
                fallback = here
        frame = frame.f_back
    return (chain[0] if chain else fallback), tuple(str(site) for site in chain)


_FRAME = re.compile(r'^  File "(?P<file>[^"]+)", line \d+', re.MULTILINE)


def without_ours(text: str) -> str:
    """A formatted traceback without the frames of wellfed."""
    kept: list[str] = []
    dropping = False
    for line in text.splitlines(keepends=True):
        found = _FRAME.match(line)
        if found:
            dropping = is_ours(found["file"])
        elif not line.startswith("    "):
            dropping = False
        if not dropping:
            kept.append(line)
    return "".join(kept)


def strip_error(error: BaseException) -> None:
    """Take the frames of wellfed out of an exception's traceback, and of those that led to it."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = strip_traceback(one.__traceback__)
        left += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]


def strip_traceback(trace: TracebackType | None) -> TracebackType | None:
    """The same traceback without the frames of wellfed and of the import system's runner."""
    while trace is not None and _hidden(trace):
        trace = trace.tb_next
    kept = trace
    while kept is not None:
        after = kept.tb_next
        while after is not None and _hidden(after):
            after = after.tb_next
        kept.tb_next = after
        kept = after
    return trace


def _hidden(trace: TracebackType) -> bool:
    file = trace.tb_frame.f_code.co_filename
    return is_ours(file) or file in (
        "<frozen runpy>",
        getattr(sys.modules.get("runpy"), "__file__", ""),
    )
