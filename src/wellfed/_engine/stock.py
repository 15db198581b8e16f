"""When torch's own iterator runs instead of the engine: a closed list, each entry with its reason.

loader ─► why_stock ─► a sentence: torch's own iterator    None: the engine
"""

import multiprocessing.context
import sys
from typing import Any

from torch.utils.data import DataLoader, IterDataPipe, MapDataPipe
from torch.utils.data import dataloader as torch_loader
from torch.utils.data._utils import worker as torch_worker

from wellfed._engine.watch import worker as watched

__all__ = ["why_stock"]


def why_stock(loader: Any) -> str | None:
    """Why torch's own iterator must serve this loader, in one sentence; None if it need not."""
    if sys.platform != "linux":
        return f"The engine needs Linux; this is {sys.platform}."
    if isinstance(loader.dataset, (IterDataPipe, MapDataPipe)):
        return "The dataset is a DataPipe, which torch's iterator prepares itself."
    context = loader.multiprocessing_context
    if context is not None and not _is_standard(context):
        return f"multiprocessing_context is a {type(context).__qualname__}, not one of Python's."
    if _replaced():
        return "Another library has replaced parts of torch's loader."
    return None


def _is_standard(context: Any) -> bool:
    """Whether its processes are those of the standard library."""
    kinds = multiprocessing.context
    names = ("ForkContext", "SpawnContext", "ForkServerContext", "DefaultContext")
    known = tuple(getattr(kinds, name) for name in names if hasattr(kinds, name))
    return type(context) in known and "Process" not in vars(context)


def _replaced() -> bool:
    """Whether somebody else took the place of torch's worker loop, fetchers or iterators."""
    ours = (watched.watched_loop, watched.watched_torchdata_loop)
    loop: Any = torch_worker._worker_loop
    if loop not in ours and loop.__module__ != torch_worker.__name__:
        return True
    home = torch_loader.__name__
    parts: tuple[Any, ...] = (
        torch_loader._DatasetKind,
        torch_loader._DatasetKind.create_fetcher,
        torch_loader._MultiProcessingDataLoaderIter,
        torch_loader._SingleProcessDataLoaderIter,
    )
    return any(part.__module__ != home for part in parts) or (
        DataLoader.__module__ != torch_loader.__name__
    )
