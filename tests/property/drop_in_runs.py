"""A run of a loader, told moment by moment: what came, and the state of everything it may touch."""

import gc
import hashlib
import pickle
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from drop_in_batches import Structured, tell
from drop_in_jobs import DATASETS, first, mark, order
from torch import Tensor

# More than any epoch here has, errors included: a loader that never ends must not hang the test.
MOST_BATCHES = 80


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way of loading."""

    dataset: str = "map"
    length: int = 13
    draws: tuple[str, ...] = ()
    deep: bool = False
    order: str = "sequential"
    batch_size: int | None = 3
    drop_last: bool = False
    collate: str = "default"
    """ "default", "keep", "draws" or "structured"."""
    structures: tuple[Callable[[Tensor], Any], ...] = ()
    workers: int = 0
    prefetch: int | None = None
    persistent: bool = False
    method: str | None = None
    in_order: bool = True
    marked: bool = False
    """Whether workers begin with a `worker_init_fn`."""
    script: str = "epochs"

    def __str__(self) -> str:
        changed = {f.name: getattr(self, f.name) for f in fields(self)}
        return ",".join(f"{k}={v}" for k, v in changed.items() if v != getattr(Case, k))

    @property
    def streams(self) -> bool:
        return self.dataset in ("stream", "sharded", "measured")

    @property
    def certain(self) -> int:
        """Batches of an epoch until the first worker of a stream may be found exhausted.

        From there on torch's own order depends on when the news arrives.
        """
        if not self.streams or self.workers < 2:
            return MOST_BATCHES
        size = self.batch_size or 1
        ends = []
        for worker in range(self.workers):
            whole = range(self.length) if self.dataset == "stream" else None
            mine = len(whole or range(worker, self.length, self.workers))
            batches = mine // size if self.drop_last else -(-mine // size)
            ends.append(batches * self.workers + worker)
        return min(ends)

    def loader(self, loader_class: Any) -> Any:
        dataset = DATASETS[self.dataset](self.length, self.draws, self.deep)
        if self.streams:
            which: dict[str, Any] = {"batch_size": self.batch_size}
            if self.batch_size is not None:
                which["drop_last"] = self.drop_last
        else:
            which = order(self.order, dataset, self.batch_size, self.drop_last)
        collates = {"default": None, "keep": list, "draws": first}
        if self.batch_size is None and "batch_sampler" not in which:
            collates["keep"] = None
        return loader_class(
            dataset,
            **which,
            collate_fn=collates.get(self.collate, Structured(self.structures)),
            num_workers=self.workers,
            prefetch_factor=self.prefetch,
            persistent_workers=self.persistent,
            multiprocessing_context=self.method,
            in_order=self.in_order,
            worker_init_fn=mark if self.marked and self.workers else None,
        )


class Moment(NamedTuple):
    """What came, and how things stood then."""

    what: str
    came: Any
    states: dict[str, Any]


def states(loader: Any) -> dict[str, Any]:
    """Of all random generators, and all that dataset and sampler have noted."""
    batch_sampler = loader.batch_sampler
    samplers = {"sampler": loader.sampler, "batch_sampler": batch_sampler}
    samplers["inner"] = getattr(batch_sampler, "sampler", None)
    found: dict[str, Any] = {
        "python": digest(random.getstate()),
        "numpy": digest(np.random.get_state()),
        "torch": digest(torch.get_rng_state().numpy().tobytes()),
        "dataset": tuple(loader.dataset.notes),
    }
    for name, sampler in {**samplers, "loader": loader}.items():
        generator = getattr(sampler, "generator", None)
        if generator is not None:
            found[f"{name}'s generator"] = digest(generator.get_state().numpy().tobytes())
        if name != "loader":
            found[name] = tuple(getattr(sampler, "notes", ()))
    return found


def digest(value: Any) -> str:
    return hashlib.sha1(pickle.dumps(value)).hexdigest()


def spoken(error: BaseException) -> tuple[str, list[str]]:
    """An error's type and text, without the lines of the traceback that a worker puts in it."""
    said = str(error).replace("\\n", "\n").splitlines()
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    return kind, [line for line in said if not line.startswith("  ")]


class Play:
    """Notes each moment of what is done with one loader."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.moments: list[Moment] = []
        self.epoch = 0
        self.note("made", attempt(len, loader))

    def note(self, what: str, came: Any = None) -> None:
        self.moments.append(Moment(what, came, states(self.loader)))

    def begin(self) -> Any:
        if hasattr(self.loader.sampler, "set_epoch"):
            self.loader.sampler.set_epoch(self.epoch)
        self.epoch += 1
        iterator = iter(self.loader)
        self.note("begun")
        return iterator

    def take(self, iterator: Iterator[Any]) -> bool:
        """One `next`; whether there may be more."""
        try:
            batch = next(iterator)
        except StopIteration:
            self.note("end")
            return False
        except Exception as error:
            self.note("error", spoken(error))
        else:
            self.note("batch", tell(batch))
        return True

    def drain(self, iterator: Iterator[Any], most: int = MOST_BATCHES) -> None:
        for _ in range(most):
            if not self.take(iterator):
                return


def attempt(call: Callable[[Any], Any], given: Any) -> Any:
    try:
        return call(given)
    except TypeError as error:
        return spoken(error)


def epochs(play: Play) -> None:
    """Two epochs to their end, and one `next` past it."""
    for _ in range(2):
        iterator = play.begin()
        play.drain(iterator)
        play.take(iterator)
        release(play, iterator)


def leave(play: Play) -> None:
    """An epoch left after two batches, then a whole one."""
    iterator = play.begin()
    play.drain(iterator, 2)
    release(play, iterator)
    del iterator
    play.note("left")
    iterator = play.begin()
    play.drain(iterator)
    release(play, iterator)


def together(play: Play) -> None:
    """Two iterators of one loader, in turn; with persistent workers they are the same one."""
    one, other = play.begin(), play.begin()
    play.note("same" if one is other else "two")
    for _ in range(3):
        play.take(one)
        play.take(other)
    play.drain(one, 2)
    for iterator in (one, other):
        release(play, iterator)


def release(play: Play, iterator: Any) -> None:
    """Let go of it, unless it is persistent."""
    if not play.loader.persistent_workers:
        shut_down(iterator)


def shut_down(iterator: Any) -> None:
    """Stop its workers. Left to the garbage collector after an error, torch takes 5 s for each."""
    if hasattr(iterator, "_shutdown_workers"):
        iterator._shutdown_workers()


SCRIPTS: dict[str, Callable[[Play], None]] = {
    "epochs": epochs,
    "leave": leave,
    "together": together,
}


def run(case: Case, loader_class: Any) -> tuple[list[Moment], list[str]]:
    """Every moment, and every warning, of the case with a loader of that class."""
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        play = Play(case.loader(loader_class))
        SCRIPTS[case.script](play)
        shut_down(getattr(play.loader, "_iterator", None))
        moments = play.moments
        del play
        if case.workers:
            gc.collect()  # also an iterator in a cycle ends its workers before the next run
    said = [f"{one.category.__name__}: {one.message}" for one in warned]
    # Torch's own operators warn of a thing once in a process, whoever is first.
    return moments, [one for one in said if "Triggered internally" not in one]


def without_order(moments: list[Moment]) -> list[Moment]:
    """With the batches sorted among themselves."""
    batches = iter(sorted((one for one in moments if one.what == "batch"), key=repr))
    return [next(batches) if one.what == "batch" else one for one in moments]


def comparable(case: Case, moments: list[Moment]) -> list[Moment]:
    """The moments in an order that torch promises."""
    if not case.in_order:
        return without_order([replaced(one) for one in moments])
    told: list[Moment] = []
    epoch: list[Moment] = []
    for one in moments:
        if one.what == "begun":
            told += settle(case, epoch)
            epoch = []
        epoch.append(one)
    return told + settle(case, epoch)


def settle(case: Case, epoch: list[Moment]) -> list[Moment]:
    certain = 1 + case.certain  # the first moment is the epoch's beginning
    return epoch[:certain] + without_order(epoch[certain:])


def replaced(moment: Moment) -> Moment:
    return moment._replace(states={}) if moment.what == "batch" else moment


def agree(case: Case, loader_class: Any, reference_class: Any) -> None:
    """Both classes do the same at every moment; the first difference is shown."""
    expected, expected_warnings = run(case, reference_class)
    actual, actual_warnings = run(case, loader_class)
    pairs = zip(comparable(case, expected), comparable(case, actual), strict=False)
    for number, (theirs, ours) in enumerate(pairs):
        where = f"moment {number}"
        assert (where, ours.what, ours.came) == (where, theirs.what, theirs.came)
        for name, state in theirs.states.items():
            assert (where, name, ours.states[name]) == (where, name, state)
    assert [one.what for one in actual] == [one.what for one in expected]
    assert actual_warnings == expected_warnings
