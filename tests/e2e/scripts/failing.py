"""Fails in the way that its argument names. Needs no torch."""

import sys


def cause() -> None:
    try:
        {}["missing"]
    except KeyError as error:
        raise ValueError("chained") from error


class OwnInterrupt(BaseException):
    """Not an Exception."""


def hooked() -> None:
    sys.excepthook = lambda kind, error, trace: print("hooked", kind.__name__, trace is not None)
    raise OSError


def own_interrupt() -> None:
    raise OwnInterrupt("own")


ways = {
    "message": lambda: sys.exit("a message"),
    "nothing": lambda: sys.exit(None),
    "code": lambda: sys.exit(300),
    "cause": cause,
    "hooked": hooked,
    "own_interrupt": own_interrupt,
    "import": lambda: __import__("not_installed_anywhere"),
}
ways[sys.argv[1]]()
