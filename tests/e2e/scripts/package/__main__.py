"""Runs as `-m package`."""

import sys

from package import module

print(__name__, __package__, __spec__.name, sys.argv, sys.path[0], module.__name__)
