"""What a dataset holds, by attribute: generators, whole numbers, what looks like a cache.

    dataset ── rng                  a generator            "rng"
       │    └─ epoch = 3            a whole number         "epoch"
       ├─ cache = {7: ..., 9: ...}  entries of a cache     "cache"
       └─ transform ── rng          one level below        "transform.rng"

Guarantees
- instance dictionaries are read directly: no property, `__getattr__` or `__len__` of a user's runs
- at most `MOST_NODES` attributes are visited, in the same order in every copy of the dataset
"""

import types
from collections import deque
from collections.abc import Iterator
from functools import _lru_cache_wrapper
from itertools import islice
from typing import Any, NamedTuple

import torch

from wellfed._engine.watch.fingerprints import of_generator

__all__ = ["Holdings", "holdings", "whole_numbers"]

# A dataset with its transforms holds a few dozen attributes; looking at 64 takes 50 µs.
MOST_NODES = 64
# dataset.dataset.transform.transforms[0]: a Subset of a dataset with a list of transforms.
MOST_LEVELS = 4
MOST_ITEMS = 8
# Places of a list that are looked at, evenly spread, for how full it is.
PLACES = 256

_CLOSED = (torch.Tensor, torch.nn.Module, type, types.ModuleType, str, bytes)


class Holdings(NamedTuple):
    """What was found, by the path of attributes that leads to it."""

    generators: dict[str, int]
    """Fingerprints of where generators stand."""
    numbers: dict[str, int]
    entries: dict[str, int]
    """How many entries caches have."""


def holdings(dataset: Any) -> Holdings:
    """Look at what the dataset holds. Never raises."""
    generators: dict[str, int] = {}
    numbers: dict[str, int] = {}
    entries: dict[str, int] = {}
    for path, held in _below(dataset):
        try:
            place = of_generator(held)
            if place is not None:
                generators[path] = place
            elif type(held) is int and abs(held) < 2**53:
                numbers[path] = held
            elif (filled := _entries(held)) is not None:
                entries[path] = filled
        except Exception:  # a user's class that does odd things: it is passed over
            continue
    return Holdings(generators, numbers, entries)


def whole_numbers(dataset: Any) -> dict[str, int]:
    """Only the whole numbers that it holds, by the path of attributes. Never raises."""
    return {path: held for path, held in _below(dataset) if type(held) is int and abs(held) < 2**53}


def _below(dataset: Any) -> Iterator[tuple[str, Any]]:
    """Attributes below the dataset with their paths, breadth first."""
    queue: deque[tuple[str, Any, int]] = deque([("", dataset, 0)])
    met, room = {id(dataset)}, MOST_NODES
    while queue:
        before, one, level = queue.popleft()
        for name, held in _attributes(one):
            if not room:
                return
            room -= 1
            path = f"{before}.{name}" if before else name
            yield path, held
            if level < MOST_LEVELS and id(held) not in met and not isinstance(held, _CLOSED):
                met.add(id(held))
                queue.append((path, held, level + 1))


def _attributes(one: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(one, (list, tuple)):
        if len(one) <= MOST_ITEMS:
            yield from ((f"[{place}]", held) for place, held in enumerate(one))
        return
    try:
        held = object.__getattribute__(one, "__dict__")
    except AttributeError:
        return
    if isinstance(held, dict):
        yield from islice(held.items(), MOST_NODES)
        yield from _memoised(one)


def _memoised(one: Any) -> Iterator[tuple[str, Any]]:
    """Functions under `lru_cache` that the object's class has, or that its `__getitem__` names."""
    for kind in type(one).__mro__[:-1]:
        if kind.__module__.partition(".")[0] == "torch":
            return
        for name, held in list(vars(kind).items()):
            if isinstance(held, _lru_cache_wrapper):
                yield name, held
        fetch = vars(kind).get("__getitem__")
        if isinstance(fetch, types.FunctionType):
            for name in fetch.__code__.co_names:
                if isinstance(held := fetch.__globals__.get(name), _lru_cache_wrapper):
                    yield name, held


def _entries(held: Any) -> int | None:
    """Entries of a cache: a dictionary, a memoised function, a list with gaps; None for others.

    Of a list it is an estimate from some of its places. One without gaps is data, or a log.
    """
    if isinstance(held, _lru_cache_wrapper):
        return held.cache_info().currsize
    if isinstance(held, dict):
        return dict.__len__(held)
    if type(held) is list and len(held) > PLACES:
        some = held[:: len(held) // PLACES]
        gaps = sum(one is None for one in some)
        return round(len(held) * (1 - gaps / len(some))) if gaps else None
    return None
