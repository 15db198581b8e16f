"""How much is in a batch: tensors, bytes, other objects. Looks, never changes or keeps."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

__all__ = ["Content", "look"]

# Nodes looked at before giving up: a batch of a million Python numbers must not cost a second.
# 4,096 nodes take about a millisecond.
MOST_NODES = 4096


class Content(NamedTuple):
    """What was found in a batch."""

    tensors: int
    payload_bytes: int
    objects: int
    """Objects that are neither tensors nor arrays; a lower bound past MOST_NODES."""


def look(batch: Any) -> Content:
    """Count the tensors, arrays and other objects of any nested structure.

    Containers, dataclasses and objects with a `__dict__` are entered, each once. Never raises.
    """
    tensors = payload = objects = 0
    seen: set[int] = set()
    stack = [batch]
    nodes = 0
    while stack:
        node = stack.pop()
        nodes += 1
        if nodes > MOST_NODES:
            objects += len(stack) + 1
            break
        if isinstance(node, torch.Tensor):
            tensors += 1
            payload += _nbytes(node)
        elif isinstance(node, np.ndarray):
            objects += 1
            payload += node.nbytes
        elif isinstance(node, (str, bytes, bytearray)):
            objects += 1
            payload += len(node)
        elif isinstance(node, (int, float, bool, complex, type(None))):
            objects += 1
        elif id(node) not in seen:
            seen.add(id(node))
            objects += 1
            stack.extend(_parts(node))
    return Content(tensors, payload, objects)


def _nbytes(tensor: torch.Tensor) -> int:
    try:
        return tensor.numel() * tensor.element_size()
    except Exception:
        return 0  # sparse, nested or meta tensors that have no plain size


def _parts(node: Any) -> list[Any]:
    """What the node holds, as pickling would see it."""
    try:
        if isinstance(node, Mapping):
            return [*node.keys(), *node.values()]
        if isinstance(node, (list, tuple, set, frozenset)):
            return list(node)
        inside = list(vars(node).values()) if hasattr(node, "__dict__") else []
        for kind in type(node).__mro__:
            slots = kind.__dict__.get("__slots__", ())
            names = (slots,) if isinstance(slots, str) else slots
            inside += [getattr(node, name) for name in names if hasattr(node, name)]
        return inside
    except Exception:
        return []  # an object whose attributes raise is counted as one
