"""Runs as `-m package.module`."""

import sys

if __name__ == "__main__":
    from . import __main__ as other

    print(__name__, __package__, __spec__.name, sys.argv, __file__, other.__name__)
