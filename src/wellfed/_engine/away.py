"""Whether a batch may be made away from its home: whether it is a function of its indices alone.

NOTE [What keeps a batch at home]
A logical worker of torch is a process with a copy of the dataset, so a sample may depend on more
than its index: on the worker's random streams, on its number, on generators, counters and caches
that the dataset holds, on what `worker_init_fn` changed. Such batches are made by their home, in
order, as torch makes them. What is looked at:

    before anything runs   iterable dataset, `worker_init_fn`, a generator or an iterator held by
                           the dataset or the collate function, or by a module (`standing_reason`)
    the first batch        did it draw, ask who it is, or leave the dataset changed (`Trial`)
    each batch made away   did it draw, or ask who it is; now and again, did it change the dataset

A trial that finds something is thrown away: its random draws are taken back, and where the dataset
was changed the workers are made anew, before anything was delivered.
"""

import functools
import io
import itertools
import random
import sys
import types
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data._utils.worker import WorkerInfo

from wellfed._engine.randomness import Draws
from wellfed._engine.stateful import is_stateful
from wellfed.job import Job

__all__ = [
    "ASKED",
    "CHANGED",
    "DREW",
    "MODULE_DRAWS",
    "RAISED",
    "UNFIT",
    "Asked",
    "Trial",
    "generators_in",
    "own_state",
    "standing_reason",
    "why",
]

# Bits of what a trial found.
DREW, ASKED, CHANGED, RAISED, UNFIT = 1, 2, 4, 8, 16

_SAID = {
    DREW: "a sample or the collate function draws random numbers",
    ASKED: "a sample asks which worker it is in",
    CHANGED: "fetching a sample changes the dataset",
    RAISED: "a sample raised",
    UNFIT: "parts of a batch do not add up to the whole",
}

# Objects looked at below a dataset. Real ones hold a few hundred besides their data; one that holds
# more has them in long lists, of which a part is looked at.
MOST_OBJECTS = 2_000
MOST_ITEMS = 64
# Packages whose modules are not looked at: they keep no generator that a sample is drawn from. Most
# are so large that the look would take 20 ms; hypothesis, which has one, runs tests, and datasets
# names files by its own.
_WITHOUT_GENERATORS = frozenset(
    {
        *sys.stdlib_module_names,
        *("torch", "numpy", "sympy", "mpmath", "networkx", "hypothesis", "datasets", "wellfed"),
    }
)
# Arrays below this many bytes are compared by content: counters and small tables.
SMALL_BYTES = 1024

_PLAIN = (int, float, complex, str, bytes, bool, type(None), type, types.ModuleType, torch.Tensor)


def why(bits: int) -> str:
    """The reasons in words."""
    return " and ".join(said for bit, said in _SAID.items() if bits & bit)


def standing_reason(job: Job) -> str | None:
    """Why no batch of this job may be made away from its home; None if that is not known yet."""
    if job.iterable:
        return "the dataset is iterable"
    if job.worker_init is not None:
        return "worker_init_fn may make the workers differ"
    if is_stateful(job.dataset):
        return "the dataset has a state, of which its state_dict tells"
    return own_state(job) or (MODULE_DRAWS if _modules_hold_generators() else None)


MODULE_DRAWS = "a module keeps a random generator of its own"


def own_state(job: Job) -> str | None:
    """What the dataset or the collate function holds that each batch moves on; None if nothing."""
    for what, held in (("dataset", job.dataset), ("collate function", job.collate)):
        for one in _below(held):
            if _has_state_of_its_own(one):
                return f"the {what} holds a {type(one).__qualname__} of its own"
    return None


def _modules_hold_generators() -> bool:
    """Whether a module that a dataset may use keeps a generator besides the global ones."""
    shared = {id(torch.default_generator), id(getattr(random.seed, "__self__", None))}
    numpys = getattr(sys.modules.get("numpy.random.mtrand"), "_rand", None)
    shared.add(id(numpys))
    return any(
        _is_generator(held) and id(held) not in shared
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] not in _WITHOUT_GENERATORS
        for held in list(getattr(module, "__dict__", {}).values())
    )


def generators_in(root: Any) -> list[Any]:
    """Random generators that `root` holds, as far as they are found."""
    return [one for one in _below(root) if _is_generator(one)]


def _is_generator(one: Any) -> bool:
    # By its type alone: some modules warn when asked for the class of what they hold.
    # A SystemRandom has no state that would have to stay in order.
    kind = type(one)
    generators = _generators("numpy.random" in sys.modules)
    return issubclass(kind, generators) and not issubclass(kind, random.SystemRandom)


@functools.cache
def _generators(with_numpy: bool) -> tuple[type, ...]:
    found: list[type] = [torch.Generator, random.Random]
    if with_numpy:
        numpy_random = sys.modules["numpy.random"]
        found += [numpy_random.Generator, numpy_random.RandomState, numpy_random.BitGenerator]
    return tuple(found)


def _has_state_of_its_own(one: Any) -> bool:
    # An open file is an iterator of its lines, but samples are mostly read by their place in it.
    kind = type(one)
    return _is_generator(one) or (issubclass(kind, Iterator) and not issubclass(kind, io.IOBase))


def _below(root: Any) -> Iterator[Any]:
    """Objects that `root` holds, breadth first, each once; the first `MOST_OBJECTS` of them."""
    queue, met = deque([root]), {id(root)}
    while queue and len(met) < MOST_OBJECTS:
        one = queue.popleft()
        yield one
        for held in _held_by(one):
            if id(held) not in met and not isinstance(held, _PLAIN):
                met.add(id(held))
                queue.append(held)


def _held_by(one: Any) -> list[Any]:
    if isinstance(one, dict):
        return list(itertools.islice(one.values(), MOST_ITEMS))
    if isinstance(one, (list, tuple, set, frozenset, deque)):
        return list(itertools.islice(one, MOST_ITEMS))
    if isinstance(one, functools.partial):
        return [one.func, *one.args, *one.keywords.values()]
    if isinstance(one, types.MethodType):
        return [one.__self__, one.__func__]
    if isinstance(one, types.FunctionType):
        cells = [cell.cell_contents for cell in one.__closure__ or () if _filled(cell)]
        return [*cells, *(one.__defaults__ or ()), *(one.__kwdefaults__ or {}).values()]
    held = list(getattr(one, "__dict__", {}).values())
    for kind in type(one).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            descriptor = vars(kind).get(name)
            if isinstance(descriptor, types.MemberDescriptorType):
                try:
                    held.append(descriptor.__get__(one, kind))
                except AttributeError:
                    continue
    return held


def _filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _looks_like(root: Any) -> list[Any]:
    """A fingerprint of what `root` holds: identities, lengths and plain values.

    A torch tensor changed in place shows by its version; a large NumPy array does not show.
    """
    print_: list[Any] = []
    for one in _below(root):
        print_.append(id(one))
        if isinstance(one, (dict, list, set, deque, bytearray)):
            print_.append(len(one))
        values = one.values() if isinstance(one, dict) else _held_by(one)
        print_ += [_value(held) for held in itertools.islice(values, MOST_ITEMS)]
    return print_


def _value(held: Any) -> Any:
    if isinstance(held, (int, float, str, bool)):
        return held
    if isinstance(held, torch.Tensor):
        return id(held), held._version
    # Of an array, not of its class, which has a descriptor there.
    nbytes = getattr(held, "nbytes", None)
    small = isinstance(nbytes, int) and nbytes < SMALL_BYTES and not isinstance(held, type)
    return (id(held), held.tobytes()) if small and hasattr(held, "tobytes") else id(held)


class Asked(WorkerInfo):
    """torch's WorkerInfo that notes whether anybody asks what tells workers apart."""

    __slots__ = ("asked",)

    asked: bool

    def __getattribute__(self, name: str) -> Any:
        if name in ("id", "seed", "dataset"):
            object.__setattr__(self, "asked", True)
        return object.__getattribute__(self, name)


Asked.__qualname__ = Asked.__name__ = "WorkerInfo"


class Trial:
    """Looks at one batch made away from its home: what it depends on besides its indices."""

    def __init__(self, dataset: Any, collate: Any, info: Asked) -> None:
        self._held = (dataset, collate)
        self._draws = Draws()
        self._info = info
        self._before: list[Any] | None = None

    def begin(self, *, closely: bool) -> None:
        """The batch is about to be made; `closely` also looks for changes of the dataset."""
        self._before = self._print() if closely else None
        object.__setattr__(self._info, "asked", False)
        self._draws.begin()

    def drew(self) -> bool:
        """Whether it has drawn so far."""
        return self._draws.any()

    def end(self, *, take_back: bool) -> int:
        """It was made, or given up.

        Args:
            take_back: put the random generators back to where they stood.

        Returns:
            What it depends on besides its indices, as bits.
        """
        found = 0
        if self._draws.any():
            if take_back:
                self._draws.take_back()
            found |= DREW
        if self._info.asked:
            found |= ASKED
        if self._before is not None and self._before != self._print():
            found |= CHANGED
        return found

    def _print(self) -> list[Any]:
        return [seen for held in self._held for seen in _looks_like(held)]
