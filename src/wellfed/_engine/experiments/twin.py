"""A second loader with the arguments of the first, which draws and consumes nothing of it.

    user's loader ─► sampler, deep-copied with its generators ─► index batches
                  ─► dataset, the same object, behind `Staged`
                  ─► the plan to try, and the user's worker_init_fn, context and timeout

Guarantees
- the user's samplers, generators and iterators are neither asked nor drawn from;
- random generators stand where they stood, once `untouched` is left.
"""

import copy
import itertools
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from wellfed._engine.away import generators_in
from wellfed._engine.experiments.rebuilt import arguments
from wellfed._engine.experiments.staged import Ask, Init, Staged
from wellfed._engine.randomness import restore, states
from wellfed.records import Plan

__all__ = ["OPT_OUT", "Asks", "build", "index_batches", "untouched", "why_not"]

OPT_OUT = "wellfed_experiments"
"""A dataset with this attribute set to False is never read by an experiment."""

MOST_BATCHES = 4096


def why_not(loader: Any, *, ours: bool = False) -> str:
    """Why no experiment can be run on a copy of this loader, in a clause; "" if it can.

    Args:
        loader: the user's; None if it is gone.
        ours: whether one of wellfed's will do: what is tried then is built as one of them, too.
    """
    if loader is None:
        return "the loader is gone, or ran in another process"
    if _opted_out(loader.dataset):
        return f"its dataset says {OPT_OUT} = False"
    if isinstance(loader.dataset, IterableDataset):
        return "an IterableDataset can be read only by consuming it"
    own = [
        name
        for name in ("__iter__", "_get_iterator")
        if _overrides(type(loader), name) and not (ours and _is_ours(type(loader), name))
    ]
    if own:
        return f"{type(loader).__qualname__} brings its own {own[0]}"
    return ""


def _opted_out(dataset: Any) -> bool:
    if getattr(dataset, OPT_OUT, True) is False:
        return True
    parts = [getattr(dataset, "dataset", None), *(getattr(dataset, "datasets", None) or ())]
    return any(_opted_out(part) for part in parts if part is not None and part is not dataset)


def _is_ours(kind: type, name: str) -> bool:
    return str(getattr(kind, name).__module__).startswith("wellfed.")


def _overrides(kind: type, name: str) -> bool:
    return getattr(kind, name) is not getattr(DataLoader, name)


def index_batches(loader: Any) -> list[Any]:
    """What the loader's sampler would hand out next, from a copy of it.

    Raises:
        Exception: whatever the copying or the copy raises; the original has not moved.
    """
    sampler = loader.batch_sampler if loader.batch_sampler is not None else loader.sampler
    shared = {id(loader.dataset): loader.dataset}
    twin = copy.deepcopy(sampler, shared)
    return list(itertools.islice(twin, MOST_BATCHES))


class Asks:
    """The sampler of a twin: endless, and turned from one stage to another while it runs.

    Each batch returned asks for one more, so a stage that begins finds the batches in flight to
    be of the stage before; whoever measures drops them.
    """

    def __init__(self, indices: list[Any]) -> None:
        self._indices = indices
        self._place = 0
        self._order = Ask("as_is", None)

    def turn_to(self, order: Ask, place: int | None = None) -> None:
        """From the next request on: this stage; from `place` on if that is given."""
        self._order = order
        if place is not None:
            self._place = place

    def __iter__(self) -> Iterator[Ask]:
        while True:
            index = self._indices[self._place % len(self._indices)]
            self._place += 1
            yield self._order._replace(index=index)


def build(loader: Any, plan: Plan, asks: Asks, init: Init, timeout_s: float) -> Any:
    """A loader under `plan` that makes what `asks` asks for from the user's dataset.

    Args:
        loader: the user's.
        plan: how its batches are made.
        asks: which, and what is left out.
        init: runs in each worker.
        timeout_s: how long a batch may take.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return DataLoader(
            Staged(loader.dataset, loader.collate_fn, batched=loader.batch_sampler is not None),  # type: ignore[arg-type]
            sampler=asks,
            batch_size=None,
            collate_fn=_as_it_is,
            **arguments(loader, plan, init=init, timeout_s=timeout_s),
        )


def _as_it_is(batch: Any) -> Any:
    return batch


@contextmanager
def untouched(loader: Any) -> Iterator[None]:
    """Puts random generators back: the global ones, those of devices, those of the loader's parts.

    Of the loader, those that its dataset and collate function hold: without workers the trainer's
    process itself draws from them.
    """
    kept = states()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    parts = (loader.dataset, loader.collate_fn)
    undo = [_keep(one) for part in parts for one in generators_in(part)]
    try:
        yield
    finally:
        for put_back in undo:
            put_back()
        restore(kept)
        if devices:
            torch.cuda.set_rng_state_all(devices)


def _keep(generator: Any) -> Callable[[], object]:
    """How to put a generator back to where it stands now."""
    if isinstance(generator, torch.Generator):
        return partial(generator.set_state, generator.get_state())
    if isinstance(generator, random.Random):
        return partial(generator.setstate, generator.getstate())
    if hasattr(generator, "set_state"):  # NumPy's RandomState
        return partial(generator.set_state, generator.get_state())
    bits = getattr(generator, "bit_generator", generator)
    return partial(setattr, bits, "state", copy.deepcopy(bits.state))
