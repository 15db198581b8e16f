"""Batches are stacked straight into the slabs they travel in.

In a worker, torch's default collate asks `UntypedStorage._new_shared` for shared memory and stacks
into it; user code that copied the recipe does the same. Here that call gives room in a slab. When
to ask, what to make of subclasses, dtypes and ragged shapes, and what a user has put into
`default_collate_fn_map`, all stay torch's.
"""

import os
import threading
from typing import Any

import torch

from wellfed._engine.patches import Patches
from wellfed._engine.reductions import LARGE_BYTES, empty_storage
from wellfed._engine.slabs import Slabs

__all__ = ["collate_into"]


def collate_into(slabs: Slabs) -> Patches:
    """Have this process's shared storages lie in `slabs`, until `undo` of what is returned.

    Only in the calling thread, since a slab has one writer; and not in processes forked from this
    one, which map the same slabs.
    """
    owner = threading.get_ident()
    place = torch.storage._StorageBase
    original = vars(place)["_new_shared"]

    def _new_shared(cls: Any, size: int, *, device: Any = "cpu") -> Any:
        ours = (
            cls is torch.UntypedStorage
            and torch.device(device).type == "cpu"
            and threading.get_ident() == owner
            and os.getpid() == slabs.pid
        )
        if not ours:
            return original.__get__(None, cls)(size, device=device)
        return _storage(slabs, size)

    patches = Patches()
    patches.replace(place, "_new_shared", classmethod(_new_shared))
    return patches


def _storage(slabs: Slabs, nbytes: int) -> torch.UntypedStorage:
    if not nbytes:
        return empty_storage()
    # Small ones are copied by the trainer anyway. Neither kind can be resized, as in torch.
    buffer = bytearray(nbytes) if nbytes < LARGE_BYTES else slabs.reserve(nbytes).exporter
    return torch.frombuffer(buffer, dtype=torch.uint8, count=nbytes).untyped_storage()
