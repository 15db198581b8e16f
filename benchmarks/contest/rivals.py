"""Other loaders, where they are installed, with as many workers as torch's best.

Not among them: Grain, whose loader takes its own kind of data source and sampler; DALI and FFCV,
which want the data in their own formats, or an accelerator.
"""

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler, default_collate
from workloads import Workload

__all__ = ["RIVALS"]


def batch_sampler(workload: Workload, dataset: Any) -> Any:
    """The indices of an epoch's batches."""
    order = RandomSampler(dataset) if workload.shuffle else SequentialSampler(dataset)
    return BatchSampler(order, workload.samples, drop_last=False)


class Fetch:
    """Makes a whole batch from its indices, as torch's fetcher does."""

    def __init__(self, workload: Workload, dataset: Any) -> None:
        self.dataset = dataset
        self.single = workload.batch_size is None
        self.collate = workload.collate or default_collate

    def __call__(self, indices: list[int]) -> Any:
        """One batch."""
        if self.single:
            return self.dataset[indices[0]]
        if hasattr(self.dataset, "__getitems__"):
            return self.collate(self.dataset.__getitems__(indices))
        return self.collate([self.dataset[index] for index in indices])


def torchdata_nodes(
    workload: Workload, dataset: Any, workers: int, prefetch: int | None, *, method: str
) -> Iterable[Any]:
    """Torchdata's nodes: batches made side by side, in order."""
    from torchdata.nodes import Loader, ParallelMapper, Prefetcher, SamplerWrapper

    source = SamplerWrapper(batch_sampler(workload, dataset))
    batches = ParallelMapper(source, Fetch(workload, dataset), workers, method=method)
    return Loader(Prefetcher(batches, max(1, workers) * (prefetch or 2)))


def threads(*given: Any) -> Iterable[Any]:
    """In threads of the trainer's process."""
    return torchdata_nodes(*given, method="thread")


def child_processes(*given: Any) -> Iterable[Any]:
    """In worker processes."""
    return torchdata_nodes(*given, method="process")


def spdl_threads(
    workload: Workload, dataset: Any, workers: int, prefetch: int | None
) -> Iterable[Any]:
    """SPDL's pipeline: a pool of threads in the trainer's process, batches in order."""
    from spdl.pipeline import PipelineBuilder

    class Epochs:
        def __iter__(self) -> Any:
            pipeline = (
                PipelineBuilder()
                .add_source(batch_sampler(workload, dataset))
                .pipe(Fetch(workload, dataset), concurrency=workers, output_order="input")
                .add_sink(workers * (prefetch or 2))
                .build(num_threads=workers)
            )
            with pipeline.auto_stop():
                yield from pipeline

    return Epochs()


Rival = Callable[[Workload, Any, int, int | None], Iterable[Any]]

RIVALS: dict[str, Rival] = {
    **(
        {"nodes-thread": threads, "nodes-process": child_processes}
        if find_spec("torchdata")
        else {}
    ),
    **({"spdl": spdl_threads} if find_spec("spdl") else {}),
}
