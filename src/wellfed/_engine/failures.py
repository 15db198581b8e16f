"""Exceptions of the user's code on their way from a worker to the trainer."""

import pickle
from multiprocessing.reduction import ForkingPickler
from typing import Any, NoReturn

from torch._utils import ExceptionWrapper

from wellfed._engine.watch import frames

__all__ = ["named", "noted", "packed_failure", "raise_failure"]

# So many samples of a batch are named; the rest is counted.
MOST_NAMED = 64


def packed_failure(home: int, index: Any = None) -> bytes:
    """The exception that is being handled, as torch hands it over.

    Args:
        home: the logical worker, which torch's text names.
        index: the dataset's index of the sample that raised; None if it was none in particular.
    """
    _wrap: Any = ExceptionWrapper
    wrapper = _wrap(where=f"in DataLoader worker process {home}")
    wrapper.exc_msg = frames.without_ours(wrapper.exc_msg)
    attempts = [(wrapper, index), (wrapper, None)]
    for attempt in attempts:
        try:
            return bytes(ForkingPickler.dumps(attempt))
        except Exception:  # the index is the user's own, and so may the exception's type be
            continue
    # A type that is defined in a function, say; torch would lose the batch and wait for ever.
    wrapper.exc_type = RuntimeError
    return bytes(ForkingPickler.dumps((wrapper, None)))


def raise_failure(body: bytes) -> NoReturn:
    """Raise it as torch does, with the sample's index as a note.

    Raises:
        Exception: of the user's own type where it can be built from a text; else RuntimeError.
    """
    wrapper, index = pickle.loads(body)
    try:
        wrapper.reraise()
    except Exception as error:
        if index is not None and hasattr(error, "add_note"):
            error.add_note(f"raised by the sample with index {index!r}")
        raise
    raise AssertionError("torch's ExceptionWrapper did not raise")


def noted(error: Exception, note: str) -> None:
    """Add a note to an error of torch's; before Python 3.11, to its text."""
    if note and hasattr(error, "add_note"):
        error.add_note(note)
    elif note:
        error.args = (f"{error}\n{note}",)


def named(index: Any) -> str:
    """The samples of an index, in words."""
    if not isinstance(index, list):
        return f"sample {index!r}"
    if len(index) <= MOST_NAMED:
        return f"samples {index!r}"
    return f"{len(index)} samples, {index[:MOST_NAMED]!r} and on,"
