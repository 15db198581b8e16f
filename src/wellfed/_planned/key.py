"""What a plan holds for: this machine, its limits, this dataset and its transform, this torch.

Looks only at the loader's own attributes; no sample is read.
"""

import platform
import re
import zlib
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import torch

from wellfed._probes import survey_machine
from wellfed.records import Machine, PlanKey
from wellfed.records.amounts import size

__all__ = ["key_of"]

TRANSFORMS = ("transform", "target_transform", "transforms")
"""Attributes under which datasets keep them, torchvision's and most others."""

MOST_PARTS = 8
"""Datasets within datasets that are looked at."""

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def key_of(
    dataset: Any, collate_fn: Any, batch_size: int | None, machine: Machine | None = None
) -> PlanKey:
    """The key of one job here.

    Args:
        dataset: what is loaded.
        collate_fn: how samples become a batch; None for torch's own.
        batch_size: samples in a batch; None where the batch sampler decides.
        machine: if it was surveyed already. Surveying it takes some milliseconds.
    """
    here = machine if machine is not None else survey_machine(measure_cores=False)
    parts = list(_parts(dataset))
    found = [
        f"{name} {_named(one)}"
        for part in parts
        for name in TRANSFORMS
        if (one := getattr(part, name, None)) is not None
    ]
    collate = (
        _named(collate_fn) if collate_fn is not None and not _torchs(collate_fn) else "torch's"
    )
    return PlanKey(
        machine=_machine(here),
        limits=_limits(here),
        dataset="; ".join([*map(_dataset, parts), f"batches of {batch_size}"]),
        transform="; ".join([*found, f"collate {collate}"]),
        torch=str(torch.__version__),
    )


def _parts(dataset: Any) -> Iterator[Any]:
    """The dataset and those in it: of a Subset, a ConcatDataset and their like."""
    waiting, met = [dataset], 0
    while waiting and met < MOST_PARTS:
        part = waiting.pop(0)
        met += 1
        yield part
        inner = getattr(part, "dataset", None)
        several = getattr(part, "datasets", None)
        waiting += [inner] if inner is not None and inner is not part else []
        waiting += several if isinstance(several, (list, tuple)) else []


def _machine(here: Machine) -> str:
    gpus = ", ".join(one.name for one in here.gpus.value or ()) or "no GPU"
    memory = size(here.memory_total_bytes.value or 0)
    return f"{platform.machine()}, {here.cpus_host.value} CPUs, {memory}, {gpus}"


def _limits(here: Machine) -> str:
    limit = here.memory_limit_bytes.value
    memory = f"{size(limit)} of memory" if limit is not None else "all memory"
    return f"{here.cpus_usable.value:g} CPUs, {memory}" if here.cpus_usable.value else memory


def _dataset(part: Any) -> str:
    try:
        length = f"{len(part)} samples"
    except (TypeError, NotImplementedError, AttributeError):
        length = "a stream"
    kind = type(part)
    code = "".join(
        _checksum(method)
        for name in ("__getitem__", "__getitems__", "__iter__")
        if (method := getattr(kind, name, None)) is not None
    )
    return f"{kind.__module__.rpartition('.')[2]}.{kind.__qualname__} {code}, {length}"


def _named(thing: Any) -> str:
    """A function or an object, by name and by a checksum of its code or of how it prints itself."""
    kind = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{kind.__qualname__} {_checksum(thing)}"


def _checksum(thing: Any) -> str:
    code = getattr(thing, "__code__", None)
    if isinstance(code, CodeType):
        return f"{zlib.crc32(_bytes_of(code)):08x}"
    try:
        printed = _ADDRESS.sub("", repr(thing))
    except Exception:
        printed = type(thing).__qualname__
    return f"{zlib.crc32(printed.encode(errors='replace')):08x}"


def _bytes_of(code: CodeType) -> bytes:
    """What it does and with which constants; functions within it by the same."""
    constants = b"".join(
        _bytes_of(one) if isinstance(one, CodeType) else repr(one).encode(errors="replace")
        for one in code.co_consts
        if not isinstance(one, frozenset)  # printed in an order of its own each time
    )
    return code.co_code + constants + " ".join(code.co_names).encode()


def _torchs(collate_fn: Callable[..., Any]) -> bool:
    return str(getattr(collate_fn, "__module__", "")).startswith("torch.utils.data")
