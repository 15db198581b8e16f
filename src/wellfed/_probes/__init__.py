"""Asks the machine and the data; each probe is one function that never raises.

    survey_machine     what this process may really use                      -> Machine
    survey_sources     which file systems the samples are read from          -> Source, ...
    start_gauges       what the machine does while the script runs           -> Gauge, ...

The names load late: the sampler's own process imports its modules through this package, and must
not pay for msgspec and psutil, which it does not use.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wellfed._probes.gauges import GaugeSampler, start_gauges
    from wellfed._probes.machine import survey_machine
    from wellfed._probes.sources import survey_sources

__all__ = ["GaugeSampler", "start_gauges", "survey_machine", "survey_sources"]

_HOME = {
    "GaugeSampler": "gauges",
    "start_gauges": "gauges",
    "survey_machine": "machine",
    "survey_sources": "sources",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
