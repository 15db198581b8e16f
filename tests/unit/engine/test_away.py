"""What keeps a batch at home: seen before anything runs, or at a trial; and what does not."""

import functools
import itertools
import random
import sys
import types
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset, default_collate
from torch.utils.data._utils.worker import WorkerInfo

from wellfed._engine import away
from wellfed._engine.away import ASKED, CHANGED, DREW, Asked, Trial, standing_reason
from wellfed._engine.randomness import drew, states
from wellfed.job import Job


def job(dataset: Any = None, **changes: Any) -> Job:
    return Job(**{"dataset": dataset, "collate": default_collate, "workers": 2, **changes})


def holding(held: Any) -> SimpleNamespace:
    return SimpleNamespace(held=held)


class Slotted:
    __slots__ = ("held", "unset")

    def __init__(self, held: Any) -> None:
        self.held = held


class InheritsSlots(Slotted):
    pass


class OneSlot:
    __slots__ = "held"

    def __init__(self, held: Any) -> None:
        self.held = held


def closure_over(held: Any) -> Callable[[], Any]:
    def collate() -> Any:
        return held

    return collate


def with_default(held: Any) -> Callable[[], Any]:
    def collate(using: Any = held) -> Any:
        return using

    return collate


def with_keyword(held: Any) -> Callable[[], Any]:
    def collate(*, using: Any = held) -> Any:
        return using

    return collate


def method_of(held: Any) -> Callable[[], Any]:
    return types.MethodType(lambda _: None, holding(held))


PLACES: dict[str, Callable[[Any], Any]] = {
    "an attribute": holding,
    "a list": lambda held: holding([1, held]),
    "a tuple": lambda held: holding((1, held)),
    "a set": lambda held: holding({1, held}),
    "a deque": lambda held: holding(deque([1, held])),
    "a dict": lambda held: holding({"transform": held}),
    "nests": lambda held: holding([{"a": (holding(held),)}]),
    "slots": Slotted,
    "inherited slots": InheritsSlots,
    "one slot": OneSlot,
    "a closure": closure_over,
    "a default": with_default,
    "a keyword": with_keyword,
    "a partial": lambda held: functools.partial(print, held),
    "a partial's keyword": lambda held: functools.partial(print, end=held),
    "a partial's function": lambda held: functools.partial(closure_over(held)),
    "a bound method": method_of,
}
GENERATORS: dict[str, Callable[[], Any]] = {
    "Random": lambda: random.Random(0),
    "Generator": torch.Generator,
    "numpy's Generator": lambda: np.random.default_rng(0),
    "RandomState": lambda: np.random.RandomState(0),
    "PCG64": lambda: np.random.PCG64(0),
}
ITERATORS: dict[str, Callable[[], Any]] = {
    "generator": lambda: (n for n in range(3)),
    "count": itertools.count,
    "cycle": lambda: itertools.cycle([1]),
    "list_iterator": lambda: iter([1, 2]),
    "map": lambda: map(str, [1]),
}

# -- before anything runs


def test_a_plain_dataset_may_move() -> None:
    assert standing_reason(job(TensorDataset(torch.zeros(3)))) is None
    assert standing_reason(job(holding([np.zeros(3), "text", 5, None, {"k": print}]))) is None


def test_streams_and_prepared_workers_stay() -> None:
    assert standing_reason(job(iterable=True)) == "the dataset is iterable"
    assert "worker_init_fn" in str(standing_reason(job(worker_init=print)))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("which", ["dataset", "collate"])
def test_a_generator_is_found_wherever_it_is_held(place: str, which: str) -> None:
    said = {"dataset": "dataset", "collate": "collate function"}[which]

    reason = standing_reason(job(**{which: PLACES[place](random.Random(0))}))

    assert reason == f"the {said} holds a Random of its own"


@pytest.mark.parametrize("kind", GENERATORS | ITERATORS)
def test_every_kind_of_generator_and_iterator_is_known(kind: str) -> None:
    held = (GENERATORS | ITERATORS)[kind]()

    assert standing_reason(job(holding(held))) == (
        f"the dataset holds a {type(held).__qualname__} of its own"
    )


def test_what_has_no_state_of_its_own_may_be_held(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with open(tmp_path / "file", "rb") as file:
        assert standing_reason(job(holding([random.SystemRandom(), file]))) is None


def test_an_empty_cell_is_no_obstacle() -> None:
    def collate() -> Any:
        return later

    assert standing_reason(job(holding(collate))) is None
    later = 1


def test_a_cycle_of_objects_is_looked_at_once() -> None:
    dataset = holding([])
    dataset.held.append(dataset)

    assert standing_reason(job(dataset)) is None


def test_a_module_with_a_generator_keeps_batches_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("users_transforms")
    monkeypatch.setitem(sys.modules, "users_transforms", module)
    before = standing_reason(job())
    module.__dict__["rng"] = np.random.default_rng(0)

    assert before is None
    assert standing_reason(job()) == "a module keeps a random generator of its own"


def test_the_global_generators_under_other_names_are_no_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = types.ModuleType("users_transforms")
    monkeypatch.setitem(sys.modules, "users_transforms", module)
    module.__dict__.update(
        a=torch.default_generator,
        b=random.seed.__self__,  # type: ignore[attr-defined]
        c=np.random.mtrand._rand,
    )

    assert standing_reason(job()) is None


def test_a_generator_of_numpy_is_known_also_where_numpys_was_loaded_late() -> None:
    kinds = away._generators(False), away._generators(True)

    assert np.random.Generator not in kinds[0]
    assert np.random.Generator in kinds[1]
    assert standing_reason(job(holding(np.random.default_rng(0)))) is not None


# -- the trial


@pytest.fixture(autouse=True)
def _generators_as_they_were() -> Iterator[None]:
    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(kept[0])
    np.random.set_state(kept[1])
    torch.set_rng_state(kept[2])


def info() -> Asked:
    made = Asked(0, 2, 7, TensorDataset())
    object.__setattr__(made, "asked", False)
    return made


def found(
    what: Callable[[], Any], dataset: Any = None, *, closely: bool = True, take_back: bool = True
) -> int:
    """What a trial finds of a batch that is made by `what`."""
    trial = Trial(dataset, None, info())
    trial.begin(closely=closely)
    what()
    return trial.end(take_back=take_back)


DRAWS: dict[str, Callable[[], Any]] = {
    "python": random.random,
    "python, one bit": lambda: random.getrandbits(1),
    "python, normal": lambda: random.gauss(0, 1),
    "python, shuffled": lambda: random.shuffle([1, 2, 3]),
    "numpy": np.random.rand,
    "numpy, normal": np.random.randn,
    "torch": lambda: torch.rand(1),
    "torch, normal": lambda: torch.randn(2),
    "torch, permuted": lambda: torch.randperm(5),
    "python, seeded": lambda: random.seed(4_711),
    "numpy, seeded": lambda: np.random.seed(4_711),
    "torch, seeded": lambda: torch.manual_seed(4_711),
}


def test_what_only_reads_is_found_to_depend_on_nothing() -> None:
    dataset = holding({"data": torch.arange(10), "names": ["a", "b"]})

    assert found(lambda: dataset.held["data"][3].item(), dataset) == 0


@pytest.mark.parametrize("kind", DRAWS)
def test_a_draw_is_found_and_taken_back(kind: str) -> None:
    before = states()

    assert found(DRAWS[kind]) == DREW
    assert drew(before, states()) == 0


@pytest.mark.parametrize("kind", DRAWS)
def test_a_draw_at_home_is_found_and_stays(kind: str) -> None:
    before = states()

    assert found(DRAWS[kind], take_back=False) == DREW
    assert drew(before, states()) != 0


@pytest.mark.parametrize(
    "normal", [lambda: random.gauss(0, 1), np.random.randn], ids=["python", "numpy"]
)
def test_the_second_half_of_a_pair_is_a_draw(normal: Callable[[], float]) -> None:
    """Where the first half was drawn at home, the second moves nothing else."""
    trial = Trial(None, None, info())
    random.seed(3)
    np.random.seed(3)
    normal()
    halves = []
    for _ in range(3):
        trial.begin(closely=False)
        halves.append(normal())
        assert trial.drew()
        assert trial.end(take_back=True) == DREW
    trial.begin(closely=False)

    assert trial.end(take_back=True) == 0
    assert halves == [normal()] * 3


def test_a_trial_goes_on_from_where_the_generators_stand() -> None:
    """Draws of a home between two trials are nobody's fault."""
    trial = Trial(None, None, info())
    seen = []
    for _ in range(3):
        trial.begin(closely=False)
        seen.append(trial.end(take_back=True))
        random.gauss(0, 1)
        np.random.randn(3)
        torch.randn(3)

    assert seen == [0, 0, 0]


def test_whether_it_has_drawn_can_be_asked_in_between() -> None:
    trial = Trial(None, None, info())
    trial.begin(closely=False)
    before = trial.drew()
    random.random()

    assert (before, trial.drew()) == (False, True)


@pytest.mark.parametrize("name", ["id", "seed", "dataset"])
def test_asking_what_tells_workers_apart_is_found(name: str) -> None:
    asked = info()
    trial = Trial(None, None, asked)
    trial.begin(closely=False)
    getattr(asked, name)

    assert trial.end(take_back=True) == ASKED

    trial.begin(closely=False)

    assert trial.end(take_back=True) == 0


def test_asking_whether_there_are_workers_is_harmless() -> None:
    asked = info()
    trial = Trial(None, None, asked)
    trial.begin(closely=False)

    assert asked.num_workers == 2
    assert trial.end(take_back=True) == 0
    assert repr(asked) == repr(WorkerInfo(0, 2, 7, asked.dataset))


# -- changes of the dataset


CHANGES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "a counter": (lambda: 0, lambda d: setattr(d, "held", d.held + 1)),
    "a flag": (lambda: False, lambda d: setattr(d, "held", True)),
    "a text": (lambda: "a", lambda d: setattr(d, "held", "b")),
    "a new attribute": (lambda: 0, lambda d: setattr(d, "other", None)),
    "a cache": (dict, lambda d: d.held.update({7: "decoded"})),
    "a value in a dict": (lambda: {"n": 1}, lambda d: d.held.update(n=2)),
    "a list": (list, lambda d: d.held.append(1)),
    "a set": (set, lambda d: d.held.add(1)),
    "a deque": (deque, lambda d: d.held.append(1)),
    "a full deque": (lambda: deque([1, 2], 2), lambda d: d.held.append(3)),
    "a bytearray": (bytearray, lambda d: d.held.append(1)),
    "a list of a thousand": (lambda: [0] * 1000, lambda d: d.held.append(1)),
    "an item of a list": (lambda: [1, 2], lambda d: d.held.__setitem__(0, 5)),
    "a tensor in place": (lambda: torch.zeros(9), lambda d: d.held.add_(1)),
    "a large tensor in place": (lambda: torch.zeros(9000), lambda d: d.held[3].fill_(1)),
    "a small array": (lambda: np.zeros(4), lambda d: d.held.__setitem__(2, 1.0)),
    "something nested": (lambda: [holding({"n": 1})], lambda d: d.held[0].held.update(n=2)),
    "an opened file": (lambda: None, lambda d: setattr(d, "held", object())),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_of_the_dataset_is_found_by_a_close_look(kind: str) -> None:
    make, change = CHANGES[kind]
    dataset = holding(make())

    assert found(lambda: change(dataset), dataset, closely=False) == 0
    dataset = holding(make())
    assert found(lambda: change(dataset), dataset) == CHANGED


def test_a_change_in_slots_is_found() -> None:
    dataset = Slotted(1)

    assert found(lambda: setattr(dataset, "unset", 2), dataset) == CHANGED


def test_a_change_of_the_collate_function_is_found() -> None:
    seen: list[int] = []
    trial = Trial(None, closure_over(seen), info())
    trial.begin(closely=True)
    seen.append(1)

    assert trial.end(take_back=True) == CHANGED


@pytest.mark.parametrize(
    "held",
    [
        list(range(100_000)),
        {n: str(n) for n in range(100_000)},
        [holding(n) for n in range(10_000)],
        float("nan"),
        [np.zeros(1_000_000)],
        torch.zeros(1_000_000),
    ],
    ids=["a long list", "a large dict", "many objects", "nan", "a large array", "a large tensor"],
)
def test_what_is_large_or_odd_is_not_taken_for_a_change(held: Any) -> None:
    dataset = holding(held)

    assert found(lambda: None, dataset) == 0


def test_what_was_found_is_told_in_words() -> None:
    assert away.why(DREW) == "a sample or the collate function draws random numbers"
    assert away.why(ASKED | CHANGED) == (
        "a sample asks which worker it is in and fetching a sample changes the dataset"
    )
