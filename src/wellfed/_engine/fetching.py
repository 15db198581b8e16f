"""How a worker gets a batch: torch's fetchers, and for a map-style dataset one that tells more.

It has the attributes of torch's own, so that whoever watches one can watch the other.
"""

from collections.abc import Callable
from typing import Any

from torch.utils.data import _DatasetKind
from torch.utils.data._utils.fetch import _MapDatasetFetcher

from wellfed._engine.board import Page
from wellfed._engine.positions import Seeds
from wellfed._engine.stacking import Stack, Stacking

__all__ = ["MapFetcher", "fetcher_of"]


class MapFetcher:
    """Torch's way to fetch a batch of a map-style dataset; notes which sample is under way."""

    def __init__(
        self, dataset: Any, collate: Callable[[Any], Any], page: Page, *, batched: bool
    ) -> None:
        self.dataset = dataset
        self.collate_fn = collate
        self.auto_collation = batched
        self.seeds: Seeds | None = None
        """What to seed each sample with; None: the random streams go on."""
        self.after_first: Callable[[], None] | None = None
        """Called once the first sample of a batch is there."""
        self._page = page
        self._stacking = Stacking(collate)

    def fetch(self, index: Any) -> Any:
        """The batch, or without automatic batching the sample, of an index."""
        if not self.auto_collation:
            return self._joined(self.dataset[index])
        dataset, page, seeds = self.dataset, self._page, self.seeds
        page.place = -1
        if hasattr(dataset, "__getitems__") and dataset.__getitems__:
            if seeds is not None:
                seeds.sample(0)
            return self._joined(dataset.__getitems__(index))
        samples: list[Any] = []
        stack: Stack | None = None
        for place, one in enumerate(index):
            page.place = place
            if seeds is not None:
                seeds.sample(place)
            if stack is None:
                samples.append(dataset[one])
            else:
                stack.take(dataset[one])
                stack.settle()
            if not place:
                if self.after_first is not None:
                    self.after_first()
                if self._stacking.on and type(index) is list and len(index) > 1:
                    stack = self._stacking.begun(samples, len(index))
        page.place = -1
        return self._joined(samples if stack is None else stack.samples)

    def _joined(self, samples: Any) -> Any:
        if self.seeds is not None:
            self.seeds.collate()
        return self.collate_fn(samples)


def fetcher_of(setup: Any, page: Page) -> Any:
    """The fetcher for an epoch; an iterable dataset is asked to begin."""
    kind = _DatasetKind.Iterable if setup.iterable else _DatasetKind.Map
    fetcher: Any = _DatasetKind.create_fetcher(  # type: ignore[no-untyped-call]
        kind, setup.dataset, setup.batched, setup.collate, setup.drop_last
    )
    if type(fetcher) is not _MapDatasetFetcher:
        return fetcher
    return MapFetcher(setup.dataset, setup.collate, page, batched=setup.batched)
