"""An exception of the user's arrives as torch hands it over, and says which sample raised it."""

import sys
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import Dataset

import wellfed


class TwoParts(Exception):
    """Cannot be built from one text."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one, two)


class Raising(Dataset[Any]):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        if index == 3:
            raise self.error
        return index


def caught(kind: Any, error: Exception) -> tuple[list[int], Exception]:
    """The batches around the failure, and what was raised."""
    batches = iter(kind(Raising(error), batch_size=2, num_workers=1))
    got, raised = [next(batches)], None
    try:
        next(batches)
    except Exception as one:
        raised = one
    got += list(batches)
    assert raised is not None
    return [int(batch[0]) for batch in got], raised


@pytest.mark.parametrize(
    "error",
    [
        ValueError("broken"),
        KeyError("name"),
        TwoParts(1, 2),
        OSError(2, "gone"),
        StopIteration("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_type_and_text_are_torchs_and_the_next_batch_follows(error: Exception) -> None:
    expected, theirs = caught(TorchDataLoader, error)
    batches, ours = caught(wellfed.DataLoader, error)

    assert batches == expected == [0, 4]
    assert type(ours) is type(theirs)
    first, last = str(theirs).splitlines()[0], str(theirs).splitlines()[-1]
    assert (str(ours).splitlines()[0], str(ours).splitlines()[-1]) == (first, last)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes came with Python 3.11")
def test_a_note_names_the_sample() -> None:
    _, error = caught(wellfed.DataLoader, ValueError("broken"))

    assert error.__notes__ == ["raised by the sample with index 3"]


def test_a_type_that_cannot_be_pickled_does_not_make_the_loop_wait_for_ever() -> None:
    class Local(Exception):
        pass

    batches, error = caught(wellfed.DataLoader, Local("unseen"))

    assert batches == [0, 4]
    assert type(error) is RuntimeError
    assert "Local: unseen" in str(error)


def test_torch_alone_says_where_it_was_raised() -> None:
    _, error = caught(wellfed.DataLoader, ValueError("broken"))

    assert "wellfed" not in str(error).replace(__file__, "")
    assert "__getitem__" in str(error)
    assert torch.utils.data.get_worker_info() is None
