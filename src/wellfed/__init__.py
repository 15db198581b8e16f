"""Find out why training waits for data, and make it wait less."""

from typing import TYPE_CHECKING

from wellfed._version import __version__ as __version__

if TYPE_CHECKING:
    from wellfed._api import Observation, diagnose, observe, render, tune
    from wellfed._attach.installing import Installation, install
    from wellfed._loader import DataLoader
    from wellfed.records.codec import load

__all__ = [
    "DataLoader",
    "Installation",
    "Observation",
    "diagnose",
    "install",
    "load",
    "observe",
    "render",
    "tune",
]

_HOME = {
    "DataLoader": "wellfed._loader",
    "Installation": "wellfed._attach.installing",
    "Observation": "wellfed._api",
    "diagnose": "wellfed._api",
    "install": "wellfed._attach.installing",
    "load": "wellfed.records.codec",
    "observe": "wellfed._api",
    "render": "wellfed._api",
    "tune": "wellfed._api",
}


def __getattr__(name: str) -> object:
    # Lazy, so that `import wellfed` costs milliseconds and a saved report opens without torch.
    if name not in _HOME:
        raise AttributeError(f"module 'wellfed' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
