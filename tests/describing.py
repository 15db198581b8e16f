"""What a batch is, in a form that can be compared: types, bytes, strides, and who shares what."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch


def describe(value: Any) -> Any:
    """Equal for two batches that nobody could tell apart."""
    return _Describer().of(value)


class _Describer:
    def __init__(self) -> None:
        self.objects: dict[int, int] = {}
        self.storages: dict[int, tuple[int, int]] = {}
        self.kept: list[object] = []  # so that no id is given twice

    def of(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            return type(value), repr(value)
        if id(value) in self.objects:
            return "seen", self.objects[id(value)]
        self.objects[id(value)] = len(self.objects)
        self.kept.append(value)
        if isinstance(value, torch.Tensor):
            return type(value), self.tensor(value), self.of(attributes(value))
        if isinstance(value, torch.UntypedStorage):
            return type(value), self.storage(value, 0), bytes(value)
        if isinstance(value, np.ndarray):
            return type(value), self.array(value)
        if isinstance(value, Mapping):
            return type(value), [(self.of(key), self.of(item)) for key, item in value.items()]
        if isinstance(value, list | tuple):
            return type(value), [self.of(item) for item in value]
        if isinstance(value, set | frozenset):
            return type(value), sorted(map(repr, value))
        if is_dataclass(value):
            return type(value), [self.of(getattr(value, field.name)) for field in fields(value)]
        return type(value), self.of(getattr(value, "__dict__", repr(value)))

    def storage(self, storage: torch.UntypedStorage, byte: int) -> tuple[int, int]:
        """Which storage, and where on it, seen from where it was met first."""
        self.kept.append(storage)
        number, first = self.storages.setdefault(storage._cdata, (len(self.storages), byte))
        return number, byte - first

    def tensor(self, value: torch.Tensor) -> Any:
        facts: tuple[Any, ...] = (value.dtype, tuple(value.shape) if not value.is_nested else None)
        facts += (value.layout, value.requires_grad, str(value.device))
        if value.layout is torch.sparse_coo:
            parts: tuple[torch.Tensor, ...] = (value._indices(), value._values().detach())
            return facts, value.is_coalesced(), [self.tensor(part) for part in parts]
        if value.layout in (torch.sparse_csr, torch.sparse_bsr):
            whole = value.detach()
            parts = (whole.crow_indices(), whole.col_indices(), whole.values())
            return facts, [self.tensor(part) for part in parts]
        if value.is_nested:
            return facts, [self.tensor(part) for part in value.detach().unbind()]
        if value.is_quantized:
            return facts, value.q_scale(), value.q_zero_point(), raw(value.int_repr())
        facts += (value.stride(), value.is_conj(), value.is_neg())
        if value.device.type == "meta":
            return facts
        place = None
        if value.numel():
            byte = int(value.storage_offset()) * value.dtype.itemsize
            place = self.storage(value.untyped_storage(), byte)
        return facts, place, raw(value)

    def array(self, value: Any) -> Any:
        content = repr(value) if value.dtype.hasobject else value.tobytes()
        strides = value.strides if value.size else None
        return value.dtype, value.shape, strides, value.flags.writeable, content


def raw(value: torch.Tensor) -> bytes:
    plain = value.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    if plain.numel() == 1:  # contiguous whatever its stride, and with another than 1 no bytes
        plain = torch.empty_like(plain, memory_format=torch.contiguous_format).copy_(plain)
    return plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""


def attributes(value: torch.Tensor) -> dict[str, Any]:
    """Those torch keeps: of subclasses."""
    plain = type(value) in (torch.Tensor, torch.nn.Parameter)
    return {} if plain else {k: v for k, v in vars(value).items() if not k.startswith("_")}
