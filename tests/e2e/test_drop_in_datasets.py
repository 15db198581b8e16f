"""Datasets of other libraries are read on the engine, and give the batches that torch gives.

Each test says which back end made them, so that a fallback cannot pass for the engine.
"""

import importlib
import io
import os
import sys
import tarfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

import wellfed
from describing import describe

# Read when the library is imported: no test asks a network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what these warn of among themselves
    import datasets
    import monai.data
    import monai.transforms

SAMPLES = 26
WORKERS = [(0, "inline"), (2, "processes")]

pytestmark = pytest.mark.filterwarnings("default")


def epochs(loader_class: Any, dataset: Any, **options: Any) -> tuple[list[Any], Any]:
    """Two epochs of batches, and who made them."""
    torch.manual_seed(7)
    np.random.seed(7)
    loader = loader_class(dataset, **options)
    seen, makers = [], set()
    for _ in range(2):
        iterator = iter(loader)
        makers.add(getattr(iterator, "backend", "torch"))
        seen.append([describe(batch) for batch in iterator])
    (maker,) = makers
    return seen, maker


def check(backend: str, dataset: Any, **options: Any) -> None:
    """Ours gives what torch's gives, on this back end."""
    torchs, by_torch = epochs(DataLoader, dataset(), **options)
    ours, by_us = epochs(wellfed.DataLoader, dataset(), **options)

    assert (by_torch, by_us) == ("torch", backend)
    assert ours == torchs
    assert len(ours[0]) > 4


# -- datasets


def table() -> Any:
    columns = {"x": [[n / 8, n / 4] for n in range(SAMPLES)], "label": list(range(SAMPLES))}
    return datasets.Dataset.from_dict(columns).with_format("torch")


def noisy(rows: dict[str, Any]) -> dict[str, Any]:
    return {**rows, "x": [torch.tensor(x) + torch.rand(2) for x in rows["x"]]}


@pytest.mark.parametrize(("workers", "backend"), WORKERS)
def test_a_hugging_face_dataset(workers: int, backend: str) -> None:
    check(backend, table, batch_size=4, shuffle=True, num_workers=workers)


@pytest.mark.parametrize(("workers", "backend"), WORKERS)
def test_a_hugging_face_dataset_that_draws(workers: int, backend: str) -> None:
    def drawing() -> Any:
        return table().with_transform(noisy)

    check(backend, drawing, batch_size=4, shuffle=True, num_workers=workers)


@pytest.mark.parametrize(("workers", "backend"), WORKERS)
def test_a_hugging_face_stream(workers: int, backend: str) -> None:
    def stream() -> Any:
        return table().to_iterable_dataset(num_shards=2).shuffle(seed=3, buffer_size=8)

    check(backend, stream, batch_size=4, num_workers=workers)


# -- webdataset


@pytest.fixture(scope="module")
def webdataset() -> Iterator[Any]:
    """Not loaded for other tests: a module of it keeps a generator, which keeps batches at home."""
    yield importlib.import_module("webdataset")
    for name in list(sys.modules):
        if name.partition(".")[0] == "webdataset":
            del sys.modules[name]


@pytest.fixture
def shards(tmp_path: Path) -> str:
    """Two tar files of small arrays."""
    for shard in range(2):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as tar:
            for number in range(shard * SAMPLES, (shard + 1) * SAMPLES):
                for ending, value in (("npy", array(number)), ("cls", str(number).encode())):
                    entry = tarfile.TarInfo(f"{number:04}.{ending}")
                    entry.size = len(value)
                    tar.addfile(entry, io.BytesIO(value))
    return str(tmp_path / "{0..1}.tar")


def array(number: int) -> bytes:
    file = io.BytesIO()
    np.save(file, np.full((3, 2), number, dtype=np.float32))
    return file.getvalue()


@pytest.mark.parametrize(("workers", "backend"), WORKERS)
def test_a_webdataset(webdataset: Any, shards: str, workers: int, backend: str) -> None:
    def pipeline() -> Any:
        return (
            webdataset.WebDataset(shards, shardshuffle=False)
            .shuffle(10, seed=5)
            .decode()
            .to_tuple("npy", "cls")
            .batched(4, collation_fn=default_collate)
        )

    check(backend, pipeline, batch_size=None, num_workers=workers)


def test_a_webloader_runs_on_the_engine_under_install(webdataset: Any, shards: str) -> None:
    def batches() -> list[Any]:
        pipeline = webdataset.WebDataset(shards, shardshuffle=False).decode().to_tuple("npy", "cls")
        loader = webdataset.WebLoader(pipeline.batched(4), batch_size=None, num_workers=2)
        return [describe(batch) for batch in loader]

    made_by = []
    original = DataLoader.__iter__

    def noted(self: Any) -> Any:
        iterator = original(self)
        made_by.append(getattr(iterator, "backend", "torch"))
        return iterator

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DataLoader, "__iter__", noted)
        torchs = batches()
        with wellfed.install():
            ours = batches()

    assert made_by == ["torch", "processes"]
    assert ours == torchs


# -- monai


def flips() -> Any:
    return monai.transforms.Compose(
        [
            monai.transforms.RandFlip(prob=0.5, spatial_axis=0),
            monai.transforms.RandGaussianNoise(prob=0.5),
            monai.transforms.ToTensor(),
        ]
    )


def volumes() -> list[Any]:
    return [torch.full((1, 4, 4), float(n)) + torch.arange(4.0) for n in range(SAMPLES)]


def volume_set() -> Any:
    return monai.data.Dataset(volumes(), flips())


@pytest.mark.parametrize(("workers", "backend"), WORKERS)
def test_a_monai_dataset(workers: int, backend: str) -> None:
    dataset = volume_set
    check(backend, dataset, batch_size=4, shuffle=True, num_workers=workers)


def test_monais_own_loader_runs_on_the_engine_under_install() -> None:
    """Its `worker_init_fn` seeds the transforms of each worker."""

    def batches() -> tuple[list[Any], Any]:
        monai.utils.set_determinism(3)
        iterator = iter(monai.data.DataLoader(volume_set(), batch_size=4, num_workers=2))
        return [describe(batch) for batch in iterator], getattr(iterator, "backend", "torch")

    torchs, by_torch = batches()
    with wellfed.install():
        ours, by_us = batches()

    assert (by_torch, by_us) == ("torch", "processes")
    assert ours == torchs
