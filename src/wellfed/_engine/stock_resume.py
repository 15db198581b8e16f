"""Torch's own iterator cannot be set to a place: what was delivered is made again, and dropped."""

import weakref
from collections.abc import Callable
from typing import Any

from torch.utils.data.dataloader import _BaseDataLoaderIter

from wellfed._engine.bookmark import Bookmark
from wellfed._engine.passage import Passage
from wellfed._engine.reading import read_plan
from wellfed._engine.resume import Passed

__all__ = ["stock_iterator"]

LACKS = "torch's own iterator serves this loader, and cannot be set to a place"


def stock_iterator(
    loader: Any, make: Callable[[], _BaseDataLoaderIter], bookmark: Bookmark
) -> _BaseDataLoaderIter:
    """Torch's iterator, at the beginning or after what was delivered before.

    Args:
        loader: whose iterator it is.
        make: makes it.
        bookmark: told how far the loader has come, and tells where to take it up.
    """
    resumption = bookmark.taken_up()
    passage = Passage(loader, read_plan(loader), resumption)
    passage.begin()
    try:
        iterator = make()
        for _ in range(resumption.passed.delivered if resumption is not None else 0):
            next(iterator, None)
    finally:
        passage.settle()
    told = _Told(iterator, passage)
    iterator.__dict__["_told"] = told  # lives as long
    bookmark.follow(told)
    return iterator


class _Told:
    """Says how far torch's iterator has come."""

    def __init__(self, iterator: Any, passage: Passage) -> None:
        self._iterator = weakref.ref(iterator)
        self._passage = passage

    def passed(self) -> Passed | None:
        """As far as torch tells."""
        iterator = self._iterator()
        if iterator is None:
            return None
        begun, first = self._passage.surroundings
        return Passed(
            number=0,
            base_seed=int(iterator._base_seed or 0),
            ended=False,
            begun=begun,
            first=first,
            delivered=iterator._num_yielded,
            beyond=[],
            position=0,
            turn=0,
            was_read=0,
            sampler=None,
            streams={},
            held={},
            lacks=LACKS,
            worker_matters=LACKS if iterator._num_workers else "",
            doubt="",
        )
