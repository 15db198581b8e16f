"""How much is in a batch: tensors, bytes, other objects. Looks, never changes or keeps."""

from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
import torch

__all__ = ["Content", "is_pinned", "leading", "look"]

# Nodes looked at before giving up: a batch of a million Python numbers must not cost a second.
# 4,096 nodes take about a millisecond.
MOST_NODES = 4096


# Nodes looked at for the first tensor: it is near the top of any batch, and is sought in each.
MOST_SOUGHT = 64


class Content(NamedTuple):
    """What was found in a batch."""

    tensors: int
    payload_bytes: int
    objects: int
    """Objects that are neither tensors nor arrays; a lower bound past MOST_NODES."""


def look(batch: Any) -> Content:
    """Count the tensors, arrays and other objects of any nested structure.

    Containers, dataclasses and objects with a `__dict__` are entered, each once. Never raises,
    and calls no method that a user's class could have replaced.
    """
    tensors = payload = objects = 0
    seen: set[int] = set()
    stack = [batch]
    room = MOST_NODES
    with torch._C.DisableTorchFunctionSubclass():
        while stack and room:
            node = stack.pop()
            room -= 1
            try:
                if isinstance(node, torch.Tensor):
                    if id(node) not in seen:
                        seen.add(id(node))
                        tensors += 1
                        payload += _nbytes(node)
                elif isinstance(node, _ATOMS):
                    objects += 1
                elif isinstance(node, np.ndarray):
                    objects += 1
                    payload += node.nbytes
                elif isinstance(node, (str, bytes, bytearray)):
                    objects += 1
                    payload += len(node)
                elif id(node) not in seen:
                    seen.add(id(node))
                    objects += 1
                    parts, more = _parts(node, room)
                    stack += parts
                    objects += more
            except Exception:
                objects += 1  # an object whose attributes raise is counted as one
    return Content(tensors, payload, objects + len(stack))


def leading(batch: Any) -> int:
    """Length of the first dimension of the first tensor or array in it; -1 without any.

    Scalars are passed over. Never raises, and changes nothing.
    """
    stack = [batch]
    with torch._C.DisableTorchFunctionSubclass():
        for room in range(MOST_SOUGHT, 0, -1):
            if not stack:
                break
            node = stack.pop()
            try:
                if isinstance(node, (torch.Tensor, np.ndarray)):
                    if node.ndim:
                        return int(node.shape[0])
                elif not isinstance(node, (*_ATOMS, str, bytes, bytearray)):
                    stack += reversed(_parts(node, room)[0])
            except Exception:  # an object whose attributes raise holds nothing for us
                continue
    return -1


def is_pinned(batch: Any) -> int:
    """Whether the first tensor in it is in page-locked memory, as 1 or 0; -1 without any.

    Never raises, and changes nothing.
    """
    stack = [batch]
    with torch._C.DisableTorchFunctionSubclass():
        for room in range(MOST_SOUGHT, 0, -1):
            if not stack:
                break
            node = stack.pop()
            try:
                if isinstance(node, torch.Tensor):
                    return int(node.is_pinned()) if node.device.type == "cpu" else -1
                if not isinstance(node, (*_ATOMS, str, bytes, bytearray)):
                    stack += reversed(_parts(node, room)[0])
            except Exception:  # an object whose attributes raise holds nothing for us
                continue
    return -1


_ATOMS = (int, float, complex, type(None))  # bool is an int


def _nbytes(tensor: torch.Tensor) -> int:
    try:
        return tensor.numel() * tensor.element_size()
    except Exception:
        return 0  # sparse or nested tensors that have no plain size


def _parts(node: Any, most: int) -> tuple[list[Any], int]:
    """What the node holds, as pickling would see it: at most so many parts, and how many more."""
    if isinstance(node, dict):
        inside = islice(chain(dict.keys(node), dict.values(node)), most)
        return list(inside), max(0, 2 * dict.__len__(node) - most)
    kind: Any
    for kind in (list, tuple, set, frozenset):
        if isinstance(node, kind):
            return list(islice(kind.__iter__(node), most)), max(0, kind.__len__(node) - most)
    held = list(vars(node).values()) if hasattr(node, "__dict__") else []
    for owner in type(node).__mro__:
        slots = owner.__dict__.get("__slots__", ())
        names = (slots,) if isinstance(slots, str) else slots
        held += [getattr(node, name) for name in names if hasattr(node, name)]
    return held[:most], max(0, len(held) - most)
