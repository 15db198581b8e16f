"""What a copy of the user's loader under another plan is given: one room for all who rebuild.

Guarantees
- the user's generator is copied with its state, never drawn from;
- the default start method of the script's processes is not fixed by asking for it;
- with workers, a batch has a time-out: no wait is without bound.
"""

import multiprocessing
from typing import Any

import torch

from wellfed.records import Plan

__all__ = ["arguments", "end_workers"]


def arguments(loader: Any, plan: Plan, *, init: Any, timeout_s: float) -> dict[str, Any]:
    """Torch's arguments for `plan`; dataset, sampler and collate function are the caller's.

    Args:
        loader: the user's.
        plan: how batches are made.
        init: runs in each worker; None for nothing.
        timeout_s: how long a batch of a worker may take.
    """
    given: dict[str, Any] = {
        "num_workers": plan.workers,
        "pin_memory": plan.pin_memory,
        "pin_memory_device": loader.pin_memory_device,
        "generator": _copied(loader.generator),
        "in_order": plan.in_order,
    }
    if plan.workers:
        given |= {
            "prefetch_factor": plan.prefetch,
            "worker_init_fn": init,
            "multiprocessing_context": _context(loader, plan),
            "timeout": timeout_s,
        }
    return given


def _copied(generator: Any) -> torch.Generator:
    """With one of its own, a copy draws nothing from the global one either."""
    if generator is None:
        return torch.Generator()
    copied = torch.Generator(device=generator.device)
    copied.set_state(generator.get_state())
    return copied


def _context(loader: Any, plan: Plan) -> Any:
    given = loader.multiprocessing_context
    method = plan.start_method or multiprocessing.get_start_method(allow_none=True)
    method = method or multiprocessing.get_all_start_methods()[0]
    if given is not None and given.get_start_method() == method:
        return given
    return multiprocessing.get_context(method)


def end_workers(iterator: Any) -> None:
    """End the workers of an iterator, torch's or ours. Harmless for None, and when called twice."""
    end = getattr(iterator, "_shutdown_workers", None)
    if end is not None:
        end()
