import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from wellfed._engine import memory
from wellfed._engine.memory import make_memory
from wellfed._engine.regions import Region, rounded
from wellfed._engine.slabs import Reserved, Slabs, slab_bytes
from wellfed.errors import SharedMemoryFull
from wiring import descriptors, mappings

KIB = 1 << 10


@pytest.fixture
def slabs() -> Iterator[Slabs]:
    slabs = Slabs()
    yield slabs
    slabs.close()


def tensor(reserved: Reserved) -> torch.Tensor:
    return torch.frombuffer(reserved.exporter, dtype=torch.uint8, count=100)


def sent(slabs: Slabs, *sizes: int) -> list[int]:
    """The slabs of one batch of these sizes, on its way to the trainer."""
    slabs.begin()
    for size in sizes:
        slabs.place(size)
    return slabs.seal()


def test_reservations_of_a_batch_share_a_slab_and_do_not_overlap(slabs: Slabs) -> None:
    slabs.begin()
    first, second = slabs.reserve(100), slabs.reserve(100)

    assert first.slab == second.slab
    assert second.offset % 64 == 0
    assert second.offset >= first.offset + 100


def test_a_sealed_slab_is_not_used_again_before_it_is_given_back(slabs: Slabs) -> None:
    (first,) = sent(slabs, 100)
    (second,) = sent(slabs, 100)

    assert second != first

    slabs.give_back(first)

    assert sent(slabs, 100) == [first]


def test_the_most_recently_freed_slab_is_used_first(slabs: Slabs) -> None:
    one, two, three = (sent(slabs, 100)[0] for _ in range(3))
    for slab in (two, three, one):
        slabs.give_back(slab)

    assert sent(slabs, 100) == [one]


def test_the_best_fitting_free_slab_is_used(slabs: Slabs) -> None:
    (large,) = sent(slabs, 1000 * KIB)
    small = Slabs()
    (tight,) = sent(small, 100 * KIB)
    (loose,) = sent(small, 1000 * KIB)
    small.give_back(tight)
    small.give_back(loose)
    small.begin()

    assert small.place(900 * KIB).slab == loose
    assert small.place(90 * KIB).slab == loose  # what is left of the current one comes first
    assert small.place(90 * KIB).slab == tight
    assert large == 0
    small.close()


def test_a_slab_with_an_alias_in_the_worker_is_not_written_again(slabs: Slabs) -> None:
    slabs.begin()
    kept = tensor(slabs.reserve(100))[50:]
    (slab,) = slabs.seal()
    slabs.give_back(slab)

    assert sent(slabs, 100) != [slab]

    del kept

    assert sent(slabs, 100) == [slab]


def test_an_abandoned_batch_leaves_its_slabs_free(slabs: Slabs) -> None:
    slabs.begin()
    slab = slabs.place(100).slab
    slabs.abandon()
    slabs.abandon()

    assert slabs.used() == []
    assert sent(slabs, 100) == [slab]


def test_a_batch_that_was_never_sealed_counts_as_abandoned(slabs: Slabs) -> None:
    slabs.begin()
    slab = slabs.place(100).slab

    assert sent(slabs, 100) == [slab]


def test_a_batch_that_could_not_be_sent_leaves_its_slabs_free(slabs: Slabs) -> None:
    (slab,) = sent(slabs, 100)
    slabs.abandon()

    assert sent(slabs, 100) == [slab]


def test_slabs_given_back_twice_are_free_once(slabs: Slabs) -> None:
    (slab,) = sent(slabs, 100)
    slabs.give_back(slab)
    slabs.give_back(slab)
    slabs.give_back(12345)

    assert sent(slabs, 100) == [slab]
    assert sent(slabs, 100) != [slab]


def test_after_some_batches_one_slab_holds_all_of_the_next(slabs: Slabs) -> None:
    assert len(sent(slabs, *[100 * KIB] * 8)) > 1
    assert len(sent(slabs, *[100 * KIB] * 8)) == 1


def test_an_expected_size_is_taken_at_once(slabs: Slabs) -> None:
    slabs.expect(900 * KIB)

    assert len(sent(slabs, *[100 * KIB] * 8)) == 1


def test_slabs_no_batch_has_needed_for_long_are_let_go_of(slabs: Slabs) -> None:
    small = sent(slabs, *[100 * KIB] * 2)
    slabs.told()
    for slab in small:
        slabs.give_back(slab)
    retired = []
    for _ in range(70):
        for slab in sent(slabs, 900 * KIB):
            slabs.give_back(slab)
        slabs.told()
        retired += slabs.retired()

    assert retired == small
    assert slabs.bytes < 1100 * KIB


def test_the_trainer_is_told_of_each_slab_once(slabs: Slabs) -> None:
    (slab,) = sent(slabs, 100)
    ((number, nbytes, descriptor),) = slabs.fresh()

    assert number == slab
    assert os.fstat(descriptor).st_size == nbytes == 64 * KIB
    assert not os.get_inheritable(descriptor)

    slabs.told()

    assert slabs.fresh() == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_dropped_slab_is_unmapped_once_nothing_holds_it(slabs: Slabs) -> None:
    before = mappings()
    slabs.begin()
    kept = tensor(slabs.reserve(100)).fill_(7)
    (slab,) = slabs.seal()
    slabs.drop(slab)

    assert mappings() == before + 1
    assert kept.sum() == 700

    del kept

    assert mappings() == before


def test_nothing_is_left_after_closing() -> None:
    before = (mappings(), descriptors())
    slabs = Slabs()
    for _ in range(5):
        sent(slabs, 100 * KIB)
    slabs.close()
    slabs.close()

    assert (mappings(), descriptors()) == before


def test_slabs_occupy_no_descriptor_once_the_trainer_knows_them(slabs: Slabs) -> None:
    before = descriptors()
    for _ in range(5):
        sent(slabs, 100)
        slabs.told()

    assert descriptors() == before


def test_a_child_of_the_worker_keeps_what_it_shares(slabs: Slabs) -> None:
    slabs.begin()
    kept = tensor(slabs.reserve(100))
    (slab,) = slabs.seal()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    del kept
    slabs.give_back(slab)

    assert sent(slabs, 100) != [slab]


def test_want_of_room_is_an_error_that_says_how_much(
    monkeypatch: pytest.MonkeyPatch, slabs: Slabs
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    before = descriptors()
    slabs.begin()

    with pytest.raises(SharedMemoryFull, match=r"no room for 3\.2 MiB .*Use smaller batches"):
        slabs.place(3 << 20)

    assert descriptors() == before
    assert slabs.used() == []


def test_want_of_descriptors_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(memory, "_anonymous", exhausted)

    with pytest.raises(OSError, match="Too many open files"):
        make_memory(8192)


def test_room_in_the_temp_folder_will_do_when_all_else_is_full(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(memory, "_anonymous", full)
    monkeypatch.setattr(memory, "_in_shm", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    descriptor = make_memory(8192)

    assert os.fstat(descriptor).st_size == 8192
    os.close(descriptor)


def test_without_anonymous_memory_an_unlinked_file_will_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def blocked(*_: object) -> int:
        raise OSError(errno.ENOSYS, "blocked")

    monkeypatch.setattr(memory, "_anonymous", blocked)
    monkeypatch.setattr(memory, "_in_shm", blocked)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    descriptor = make_memory(8192)
    region = Region(descriptor, 8192)
    region.view[:3] = b"abc"

    assert os.pread(descriptor, 3, 0) == b"abc"
    assert list(tmp_path.iterdir()) == []
    os.close(descriptor)


def test_without_fallocate_the_size_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "unknown")

    monkeypatch.setattr(os, "posix_fallocate", unknown)
    descriptor = make_memory(8192)

    assert os.fstat(descriptor).st_size == 8192
    os.close(descriptor)


def test_a_mapping_that_fails_says_so() -> None:
    descriptor = os.open(os.devnull, os.O_RDONLY)

    with pytest.raises(OSError, match="cannot map 4096 bytes"):
        Region(descriptor, 4096)

    os.close(descriptor)


def test_sizes_are_rounded_by_an_eighth_at_most() -> None:
    assert all(size <= rounded(size) <= size + max(8, size / 8) for size in range(1, 5000))
    assert len({rounded(size) for size in range(1 << 16, 1 << 17)}) == 9


def test_a_first_batch_of_many_tensors_needs_few_slabs(slabs: Slabs) -> None:
    slabs.begin()
    for _ in range(200):
        slabs.reserve(100 * KIB)

    assert len(slabs.fresh()) <= 12


# -- within an allowance


def test_a_slab_is_not_made_before_that_is_allowed_and_one_that_comes_free_serves() -> None:
    asked: list[int] = []

    def may_grow(nbytes: int) -> bool:
        asked.append(nbytes)
        if len(asked) == 3:
            slabs.give_back(first)
        return len(asked) == 1

    slabs = Slabs(may_grow=may_grow)
    (first,) = sent(slabs, 100)

    assert sent(slabs, 100) == [first]
    assert asked == [slab_bytes(100)] * 3
    slabs.close()


def test_trimmed_slabs_are_told_of_until_the_rest_fits(slabs: Slabs) -> None:
    numbers = [sent(slabs, 100)[0] for _ in range(3)]
    slabs.told()
    for number in numbers[:2]:
        slabs.give_back(number)

    slabs.trim(2 * slab_bytes(100))

    assert slabs.retired() == numbers[:1]

    slabs.trim(0)

    assert slabs.retired() == numbers[1:2]  # the third is the trainer's
    assert slabs.bytes == slab_bytes(100)
