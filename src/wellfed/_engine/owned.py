"""Random generators that a loader and its sampler hold: where they stand, as plain data."""

import random
from typing import Any

import torch
from torch.utils.data import BatchSampler, DistributedSampler, RandomSampler, SequentialSampler
from torch.utils.data.dataloader import _InfiniteConstantSampler

from wellfed._engine.away import generators_in

__all__ = ["generators_of", "put_back", "standing"]

_ARRAY = "array"
_WITHOUT = (SequentialSampler, _InfiniteConstantSampler, DistributedSampler)


def generators_of(loader: Any) -> list[Any]:
    """The loader's own, and those below its sampler, but for what belongs to its dataset."""
    found = [] if loader.generator is None else [loader.generator]
    held = _held_by(loader._index_sampler)
    # Samplers mostly hold their dataset.
    theirs = {id(one) for one in generators_in(loader.dataset)} if held else set()
    for one in held:
        if id(one) not in theirs and not any(one is known for known in found):
            found.append(one)
    return found


def _held_by(sampler: Any) -> list[Any]:
    """Of torch's own it is known; in others they are looked for."""
    if type(sampler) is BatchSampler:
        return _held_by(sampler.sampler)
    if type(sampler) is RandomSampler:
        return [] if sampler.generator is None else [sampler.generator]
    return [] if type(sampler) in _WITHOUT else generators_in(sampler)


def standing(generator: Any) -> Any:
    """Where it stands: lists, numbers, text and bytes."""
    if isinstance(generator, torch.Generator):
        return generator.get_state().numpy().tobytes()
    if isinstance(generator, random.Random):
        version, words, half = generator.getstate()
        return [version, list(words), half]
    if hasattr(generator, "get_state"):
        return _plain(generator.get_state(legacy=False))
    return _plain(getattr(generator, "bit_generator", generator).state)


def put_back(generator: Any, stood: Any) -> None:
    """Put it to where it stood."""
    if isinstance(generator, torch.Generator):
        generator.set_state(torch.frombuffer(bytearray(stood), dtype=torch.uint8))
    elif isinstance(generator, random.Random):
        version, words, half = stood
        generator.setstate((version, tuple(words), half))
    elif hasattr(generator, "set_state"):
        generator.set_state(_arrays(stood))
    else:
        getattr(generator, "bit_generator", generator).state = _arrays(stood)


def _plain(state: Any) -> Any:
    if isinstance(state, dict):
        return {name: _plain(one) for name, one in state.items()}
    if hasattr(state, "dtype") and hasattr(state, "tolist"):
        return {_ARRAY: state.tolist(), "dtype": str(state.dtype)}
    return state


def _arrays(state: Any) -> Any:
    if not isinstance(state, dict):
        return state
    if _ARRAY in state:
        import numpy as np

        return np.array(state[_ARRAY], dtype=state["dtype"])
    return {name: _arrays(one) for name, one in state.items()}
