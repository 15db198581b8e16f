"""What looks like speed and is wrong data: samples twice, draws alike, epochs that repeat."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from wellfed.records import Case, Epoch, Estimate, Evidence, Finding, Look, Remedy

__all__ = ["duplicate_samples", "equal_seeds", "frozen_epoch"]

# Samples of each worker to compare at least. That so many agree by chance in 32 bits cannot be.
FEWEST_PRINTS = 8
# Of a worker's own samples so many must differ; data that repeats itself proves nothing.
DISTINCT = 0.9
# Of two workers' samples so many must be the same. Workers that share a stream may be out of step.
ALIKE = 0.5

# What `Look.generators` calls those that torch seeds in each worker.
GLOBAL = ("python", "numpy", "torch")

# Nothing can be won in time: the data is not what it is meant to be.
NO_TIME = Estimate(value=0.0, low=0.0, high=0.0)


def duplicate_samples(case: Case) -> Finding | None:
    """WF701: several workers of an iterable dataset deliver the same samples."""
    if case.workload.style != "iterable" or case.plan.workers < 2:
        return None
    prints = _prints_by_worker(case.trace.looks)
    alike = _alike(prints)
    if alike < 2:
        return None
    return Finding(
        code="WF701",
        name="duplicate_samples",
        sentence=(
            f"{alike} of {case.plan.workers} workers deliver the same samples: each of them "
            f"iterates over all of the dataset, and an epoch holds {alike} copies of it."
        ),
        evidence=(
            Evidence(
                text=f"the first {min(map(len, prints.values()))} samples of {alike} workers have "
                "the same checksums",
                value=alike,
            ),
            Evidence(text="within one worker they differ"),
        ),
        # All but one copy is work for nothing.
        cost_share=Estimate(value=1 - 1 / alike, low=1 - 1 / alike, high=1 - 1 / alike),
        remedies=(
            Remedy(
                change="info = get_worker_info(); yield from "
                "islice(samples, info.id, None, info.num_workers)",
                why="correctness: in __iter__, each worker takes its own part, so that an epoch "
                "holds each sample once",
                reproducibility="each sample comes once; the order changes",
            ),
            Remedy(
                change="num_workers=1",
                why="correctness: one worker makes each sample once",
            ),
        ),
        stakes="data",
    )


def equal_seeds(case: Case) -> Finding | None:
    """WF702: several workers draw the same random numbers."""
    if case.plan.workers < 2:
        return None
    found = max(_equal_draws(case.trace.looks), key=lambda one: one[1], default=None)
    if found is None:
        return None
    name, alike = found
    where = _whose(name)
    return Finding(
        code="WF702",
        name="equal_seeds",
        sentence=(
            f"{alike} of {case.plan.workers} workers draw the same random numbers from {where}: "
            f"augmentation repeats itself {alike} times over."
        ),
        evidence=(
            Evidence(
                text=f"{where} stood at the same place in {alike} workers at their first batch",
                value=alike,
            ),
            Evidence(text="and each of them drew from it"),
        ),
        cost_share=NO_TIME,
        remedies=(_reseed(name),),
        stakes="data",
    )


def frozen_epoch(case: Case) -> Finding | None:
    """WF703: an epoch repeats the one before: its order, its draws, or what the script sets."""
    stale, repeated = _stale_number(case), _repeated_draws(case)
    same_order = case.workload.sampler_shuffles and _equal_orders(case.trace.epochs)
    if stale is not None:
        name, here, there = stale
        return _frozen(
            f"The script set the dataset's {name} to {here}, and the workers, which persist, still "
            f"have {there}: they never see it change.",
            Evidence(text=f"{name} is {here} in the trainer and {there} in a worker", value=there),
            Remedy(
                change="persistent_workers=False",
                why="correctness: each epoch's workers then get the dataset as it is",
                reproducibility="epochs differ as the script means them to",
            ),
            Remedy(
                change=f"self.{name.rpartition('.')[2]} = torch.tensor(0).share_memory_()",
                why="correctness: workers see what the trainer writes into shared memory",
            ),
        )
    if same_order:
        return _frozen(
            f"{len(case.trace.epochs)} epochs had the same shuffled order, because the sampler was "
            "never told the epoch.",
            Evidence(text="the first batches of each epoch had the same indices"),
            Remedy(
                change="loader.sampler.set_epoch(epoch)",
                why="correctness: before each epoch, so that each has an order of its own",
                reproducibility="each epoch has another order; the same ones in each run",
            ),
        )
    if repeated is not None:
        return _frozen(
            f"Each epoch's workers draw the same random numbers from {_whose(repeated)} again.",
            Evidence(text=f"{_whose(repeated)} began at the same place in every epoch"),
            _reseed(repeated),
        )
    return None


def _frozen(sentence: str, evidence: Evidence, *remedies: Remedy) -> Finding:
    return Finding(
        code="WF703",
        name="frozen_epoch",
        sentence=sentence,
        evidence=(evidence,),
        cost_share=NO_TIME,
        remedies=remedies,
        stakes="data",
    )


def _prints_by_worker(looks: Iterable[Look]) -> dict[int, list[int]]:
    """Fingerprints of the first samples of each worker, of the first epoch that shows enough."""
    seen: defaultdict[int, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for look in looks:
        seen[look.epoch][look.worker] += [one for one in look.prints if one]
    for by_worker in seen.values():
        enough = {w: prints for w, prints in by_worker.items() if len(prints) >= FEWEST_PRINTS}
        if len(enough) >= 2:
            return enough
    return {}


def _alike(prints: dict[int, list[int]]) -> int:
    """How many workers share most of their samples with the same one."""
    sets = {w: set(some) for w, some in prints.items() if len(set(some)) >= DISTINCT * len(some)}
    most = 0
    for one in sets.values():
        most = max(most, sum(len(one & other) >= ALIKE * len(one) for other in sets.values()))
    return most


def _beginnings(looks: Iterable[Look]) -> list[list[Look]]:
    """The first looks of each worker process, in order.

    Two of them, because a generator that is seeded anew for every sample also begins at the same
    place in all workers, and then stands elsewhere in each.
    """
    by_process: defaultdict[int, list[Look]] = defaultdict(list)
    for look in looks:
        if look.worker >= 0 and len(by_process[look.pid]) < 2:
            by_process[look.pid].append(look)
    return [some for some in by_process.values() if some[0].samples_before == 0]


def _draws(looks: Iterable[Look]) -> Iterator[tuple[str, Look, tuple[tuple[int, int], ...]]]:
    """For each process and generator it drew from: where that stood after how many samples."""
    for beginning in _beginnings(looks):
        for name in dict.fromkeys(name for look in beginning for name in look.drawn):
            places = [(one.samples_before, one.generators.get(name, 0)) for one in beginning]
            yield name, beginning[0], tuple(places)


def _equal_draws(looks: tuple[Look, ...]) -> Iterator[tuple[str, int]]:
    """Generators, and how many workers of an epoch draw from one at the same places."""
    workers: defaultdict[Any, set[int]] = defaultdict(set)
    for name, first, places in _draws(looks):
        workers[first.epoch, name, places].add(first.worker)
    return ((name, len(some)) for (_, name, _), some in workers.items() if len(some) >= 2)


def _repeated_draws(case: Case) -> str | None:
    """A generator from which a worker draws the same numbers in every epoch."""
    epochs: defaultdict[tuple[int, str], dict[int, Any]] = defaultdict(dict)
    for name, first, places in _draws(case.trace.looks):
        epochs[first.worker, name][first.epoch] = places
    for (_, name), by_epoch in epochs.items():
        if len(by_epoch) >= 2 and len(set(by_epoch.values())) == 1:
            return name
    return None


def _whose(generator: str) -> str:
    """A generator in words."""
    if generator in GLOBAL:
        return f"{generator}'s global generator"
    return f"the dataset's {generator}"


def _reseed(generator: str) -> Remedy:
    """Give each worker, in each epoch, a seed of its own."""
    return Remedy(
        change="worker_init_fn: seed with torch.initial_seed() % 2**32, not with a constant"
        if generator in GLOBAL
        else f"worker_init_fn: dataset.{generator} = default_rng(torch.initial_seed())",
        why="correctness: that seed differs from worker to worker and from epoch to epoch, and "
        "repeats with torch.manual_seed",
        reproducibility="augmentation draws other numbers",
    )


def _equal_orders(epochs: tuple[Epoch, ...]) -> bool:
    orders = [epoch.order for epoch in epochs if epoch.order >= 0 and epoch.batches > 1]
    return len(orders) >= 2 and len(set(orders)) == 1


def _stale_number(case: Case) -> tuple[str, int, int] | None:
    """A number that the script changed between epochs and a worker did not see change.

    Returns:
        Its name, what it is in the trainer, and what it is in the worker.
    """
    if not case.plan.persistent:
        return None
    first: dict[int, Look] = {}
    epochs = {epoch.index: epoch for epoch in case.trace.epochs}
    for look in case.trace.looks:
        before = first.setdefault(look.worker, look)
        if look.epoch <= before.epoch or look.epoch not in epochs or before.epoch not in epochs:
            continue
        was, now = epochs[before.epoch].numbers, epochs[look.epoch].numbers
        for name, here in now.items():
            there = look.numbers.get(name)
            changed = name in was and was[name] != here
            if changed and there == before.numbers.get(name) == was[name]:
                return name, here, there
    return None
