"""Torch's own loader is watched by replaced methods, all of which are put back."""

import copy
import logging
import multiprocessing.process
import os
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset, _utils
from torch.utils.data import dataloader as torch_loader

from wellfed._engine.reading import read_plan
from wellfed._engine.watch import frames, loaders
from wellfed._engine.watch.loaders import StopWatching, Watch
from wellfed._engine.watch.one_pass import Pass
from wellfed._engine.watch.recorder import Recorder
from wellfed._engine.watch.stalls import StallClock
from wellfed.testing import TinyItems

PLACES: tuple[Any, ...] = (
    DataLoader,
    torch_loader._BaseDataLoaderIter,
    torch_loader._SingleProcessDataLoaderIter,
    torch_loader._MultiProcessingDataLoaderIter,
    multiprocessing.process.BaseProcess,
    _utils.worker,
    _utils.pin_memory,
    _utils.fetch._MapDatasetFetcher,
    _utils.fetch._IterableDatasetFetcher,
)


def everything() -> list[dict[str, Any]]:
    return [dict(vars(place)) for place in PLACES]


def same(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> bool:
    return all(
        one.keys() == other.keys() and all(one[name] is other[name] for name in one)
        for one, other in zip(first, second, strict=True)
    )


@pytest.fixture
def watch() -> Iterator[Watch]:
    made = Watch()
    made.install()
    yield made
    made.undo()


def loader_of(batches: int) -> DataLoader[Any]:
    return DataLoader(TinyItems(length=4 * batches), batch_size=4)


def only(watch: Watch) -> Recorder:
    (recorder,) = watch.recorders.values()
    return recorder


# -- installing and undoing


def test_every_original_is_put_back() -> None:
    before = everything()
    watch = Watch()
    watch.install()
    assert not same(before, everything())
    list(loader_of(2))

    watch.undo()
    watch.undo()

    assert same(before, everything())


def test_watches_undone_in_any_order_leave_nothing_that_sees() -> None:
    before = everything()
    first, second = Watch(), Watch()
    first.install()
    second.install()
    list(loader_of(2))
    assert only(first).batches == only(second).batches == 2

    second.undo()
    first.undo()
    assert same(before, everything())


def test_what_somebody_wrapped_since_stays_and_works(monkeypatch: pytest.MonkeyPatch) -> None:
    base = torch_loader._BaseDataLoaderIter
    # Noted by the fixture, which puts it back in the end, whatever happens here.
    monkeypatch.setattr(base, "__next__", base.__next__)
    watch = Watch()
    watch.install()
    ours, calls = base.__next__, 0

    def theirs(it: Any) -> Any:
        nonlocal calls
        calls += 1
        return ours(it)

    monkeypatch.setattr(base, "__next__", theirs)
    watch.undo()

    assert base.__next__ is theirs
    assert len(list(loader_of(3))) == 3
    assert calls == 4
    assert watch.recorders == {}


@pytest.mark.parametrize("in_order", [True, False])
def test_queues_that_are_in_use_are_put_back(watch: Watch, in_order: bool) -> None:
    second = Watch()
    second.install()
    loader = DataLoader(TinyItems(length=8), num_workers=1, persistent_workers=True)
    iterator = iter(loader)
    next(iterator)
    queue = iterator._worker_result_queue  # type: ignore[attr-defined]

    for one in (watch, second) if in_order else (second, watch):
        one.undo()

    assert queue._recv_bytes == queue._reader.recv_bytes
    assert len(list(iterator)) == 7
    del iterator, loader


def test_an_iterator_begun_before_undo_goes_on(watch: Watch) -> None:
    iterator = iter(loader_of(4))
    next(iterator)
    watch.undo()

    assert len(list(iterator)) == 3
    assert only(watch).batches == 1


# -- what is seen


def test_batches_are_the_same_and_each_is_seen_once(watch: Watch) -> None:
    seen = [batch.tolist() for batch in loader_of(3)]
    watch.undo()

    assert seen == [batch.tolist() for batch in loader_of(3)]
    trace = only(watch).trace(0, 1)
    assert [(span.epoch, span.number, span.samples) for span in trace.spans] == [
        (0, number, 4) for number in range(3)
    ]
    assert (trace.epochs[0].complete, trace.epochs[0].batches) == (True, 3)
    assert all(span.fetch_ns > 0 and span.worker == -1 for span in trace.spans)
    assert all(span.watch_ns < span.got_ns - span.asked_ns for span in trace.spans)


def test_loaders_are_told_apart_by_the_line_that_builds_them(watch: Watch) -> None:
    first = DataLoader(TinyItems(length=2))
    second = DataLoader(TinyItems(length=2))
    for _ in range(2):
        list(first)
        list(second)

    lines = [recorder.site.line for recorder in watch.recorders.values() if recorder.site]

    assert len(lines) == 2
    assert lines[1] == lines[0] + 1
    assert [recorder.batches for recorder in watch.recorders.values()] == [4, 4]


def test_loaders_of_one_line_are_told_apart_by_their_settings(watch: Watch) -> None:
    for prefetch, batch_size in ((2, 1), (4, 1), (4, 2), (4, 2)):
        iterator = iter(
            DataLoader(
                TinyItems(length=4),
                batch_size=batch_size,
                num_workers=1,
                prefetch_factor=prefetch,
            )
        )
        next(iterator)
        del iterator

    made = list(watch.recorders.values())
    assert [(one.plan.prefetch, one.workload.batch_size) for one in made] == [
        (2, 1),
        (4, 1),
        (4, 2),
    ]
    assert [one.batches for one in made] == [1, 1, 2]


def built(dataset: TinyItems) -> "DataLoader[Any]":
    return DataLoader(dataset, batch_size=2)


def test_loaders_that_one_helper_builds_have_names_of_their_own(watch: Watch) -> None:
    training = built(TinyItems(length=4))
    validation = built(TinyItems(length=2))
    list(training)
    list(validation)

    names = [one.name for one in watch.recorders.values()]
    assert len(set(names)) == 2
    assert names == list(watch.recorders)
    # Addresses would differ from rank to rank.
    assert not any("0x" in name for name in names)


@pytest.mark.filterwarnings("ignore:Got pickle error:UserWarning")
def test_an_iterator_that_could_not_be_made_is_forgotten(watch: Watch) -> None:
    class Local(TinyItems):
        """Cannot be pickled for a spawned worker."""

    with pytest.raises((AttributeError, pickle.PicklingError)):
        iter(DataLoader(Local(length=4), num_workers=1, multiprocessing_context="spawn"))

    assert watch._torchs.building is None


@pytest.mark.parametrize(
    "again", [copy.copy, lambda one: pickle.loads(pickle.dumps(one))], ids=["copied", "unpickled"]
)
def test_a_loader_that_was_never_built_here_is_seen(
    watch: Watch, again: Callable[[Any], Any]
) -> None:
    other = again(loader_of(2))
    list(other)

    assert only(watch).batches == 2
    assert only(watch).site is not None


def test_no_object_of_the_users_changes(watch: Watch) -> None:
    watched, iterator = loader_of(2), iter(loader_of(2))
    next(iterator)
    watch.undo()

    assert vars(watched).keys() == vars(loader_of(2)).keys()
    assert vars(iterator).keys() == vars(iter(loader_of(2))).keys()
    assert type(iterator) is torch_loader._SingleProcessDataLoaderIter


def test_a_subclass_that_calls_its_parents_next_is_timed_once(watch: Watch) -> None:
    class Again(torch_loader._SingleProcessDataLoaderIter):
        def __next__(self) -> Any:
            return super().__next__()

    class Special(DataLoader[Any]):
        def _get_iterator(self) -> Any:
            return Again(self)

    assert len(list(Special(TinyItems(length=3)))) == 3
    assert only(watch).batches == 3


def test_a_loader_inside_a_dataset_leaves_the_outer_ones_notes_alone(watch: Watch) -> None:
    class Nested(TinyItems):
        def __getitem__(self, index: int) -> Any:
            return torch.cat(list(DataLoader(TinyItems(length=3), batch_size=2)))

    list(DataLoader(Nested(length=4), batch_size=4))

    outer = next(one for one in watch.recorders.values() if "Nested" in one.workload.dataset)
    assert [span.samples for span in outer.trace(0, 1).spans] == [4]


def test_a_forked_copy_sees_nothing(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: -5)

    assert len(list(loader_of(2))) == 2
    assert watch.recorders == {}


# -- ending a script, and its own errors


def test_stop_watching_ends_the_loop_that_iterates() -> None:
    def before_next(recorder: Recorder) -> None:
        if recorder.batches == 2:
            raise StopWatching

    watch = Watch(before_next=before_next)
    watch.install()
    batches: list[Any] = []
    try:
        with pytest.raises(StopWatching):
            batches.extend(loader_of(5))
    finally:
        watch.undo()

    assert len(batches) == only(watch).batches == 2


def test_an_error_of_the_datasets_passes_without_the_frames_inside_torch(watch: Watch) -> None:
    class Bad(TinyItems):
        def __getitem__(self, index: int) -> Any:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken") as caught:
        next(iter(DataLoader(Bad())))

    names = [os.path.basename(str(entry.path)) for entry in caught.traceback]
    within = names[names.index("dataloader.py") :]
    # Those above it come back as the error rises; whoever catches it for the user strips them.
    assert {"dataloader.py", "fetch.py", "test_watched_loaders.py"} == set(within)


# -- watching that fails


def fail(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("ours")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Pass, "deliver"),
        (Recorder, "begin"),
        (StallClock, "asked"),
        (StallClock, "got"),
        (loaders, "read_plan"),
        (frames, "building_site"),
    ],
)
def test_a_failure_of_ours_switches_watching_off_and_training_goes_on(
    watch: Watch,
    owner: Any,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(owner, name, fail)

    with caplog.at_level(logging.WARNING):
        batches = [batch.tolist() for _ in range(2) for batch in loader_of(3)]

    assert batches == 2 * [batch.tolist() for batch in loader_of(3)]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert len(watch.failures) == 1
    assert "RuntimeError('ours')" in watch.failures[0]


def test_a_failing_question_switches_watching_off(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(before_next=fail)
    watch.install()
    with caplog.at_level(logging.WARNING):
        assert len(list(loader_of(3))) == 3
    watch.undo()

    assert len(watch.failures) == len(caplog.records) == 1


# -- the plan


def test_a_plan_is_read_from_the_attributes() -> None:
    rows = TensorDataset(torch.zeros(4))

    plain = read_plan(DataLoader(rows))
    assert (plain.workers, plain.prefetch, plain.start_method) == (0, None, None)
    many = read_plan(
        DataLoader(
            rows,
            num_workers=2,
            prefetch_factor=3,
            persistent_workers=True,
            in_order=False,
            multiprocessing_context="spawn",
        )
    )
    assert (many.workers, many.prefetch, many.persistent) == (2, 3, True)
    assert (many.in_order, many.start_method, many.depth) == (False, "spawn", 6)


def test_reading_a_plan_does_not_settle_the_start_method(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def start_method(allow_none: bool = False) -> None:
        asked.append(allow_none)

    monkeypatch.setattr(multiprocessing, "get_start_method", start_method)
    plan = read_plan(DataLoader(TensorDataset(torch.zeros(4)), num_workers=1))

    assert asked == [True]
    assert plan.start_method == multiprocessing.get_all_start_methods()[0]
