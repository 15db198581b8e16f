"""Prints what a script sees of itself, then leaves with a code of its own. Needs no torch."""

import atexit
import inspect
import json
import pickle
import sys
from pathlib import Path

import neighbour

import __main__


class Local:
    """Found in __main__ when unpickled."""


def leave() -> None:
    print("leaving", type(copy).__name__, __main__.__dict__ is globals())


copy = pickle.loads(pickle.dumps(Local()))
facts = {
    "name": __name__,
    "doc": __doc__,
    "file": __file__,
    "package": __package__,
    "spec": getattr(__spec__, "name", None),
    "loader": type(__loader__).__name__,
    "builtins": type(__builtins__).__name__,
    "annotations": __annotations__,
    "argv": sys.argv,
    "first on path": sys.path[0],
    "hook": sys.excepthook is sys.__excepthook__,
    "main": sys.modules["__main__"].__dict__ is globals(),
    "pickled": [type(copy) is Local, Local.__module__],
    "source": inspect.getsource(Local),
    "relative file": Path("relative.txt").read_text(),
    "neighbour": neighbour.__name__,
}
print(json.dumps(facts, indent=1))
atexit.register(leave)
sys.exit(7)
