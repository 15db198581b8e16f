"""Frameworks train on the engine, bit for bit as on torch's own loader.

Each is handed our loader, and runs unmodified under `install()`; each test says which back end made
the batches, so that a fallback cannot pass for the engine.
"""

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from runs import SCRIPTS, python
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import wellfed
from wellfed.records import Plan

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what frameworks warn of among themselves
    import accelerate
    import lightning
    import transformers
    from torch_geometric.data import Batch, Data
    from torch_geometric.loader import DataLoader as GraphLoader
    from torch_geometric.loader.base import DataLoaderIterator

SAMPLES = 24
BATCH = 4
EPOCHS = 2
BATCHES = EPOCHS * SAMPLES // BATCH

pytestmark = pytest.mark.filterwarnings("default")


class Points(Dataset[tuple[Tensor, Tensor]]):
    """Points on a line, shifted at random: their losses tell how often each generator was asked."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        point = torch.tensor([index / SAMPLES]) + torch.rand(1)
        return point, 3 * point + 1


def points(loader_class: Any, workers: int) -> Any:
    return loader_class(Points(), batch_size=BATCH, shuffle=True, num_workers=workers)


@pytest.fixture
def made_by(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who made the batches of each iterator that was begun."""
    names: list[str] = []
    original = DataLoader.__iter__

    def noted(self: Any) -> Any:
        iterator = original(self)
        names.append(getattr(iterator, "backend", "torch"))
        return iterator

    monkeypatch.setattr(DataLoader, "__iter__", noted)
    return names


def three_ways(train: Callable[[Any], Any], made_by: list[str]) -> tuple[list[Any], list[set[str]]]:
    """What came of it and who made it: with torch's loader, with ours, and under `install()`."""
    came, makers = [], []
    for loader_class, installed in (
        (DataLoader, nullcontext),
        (wellfed.DataLoader, nullcontext),
        (DataLoader, wellfed.install),
    ):
        with installed():
            made_by.clear()
            torch.manual_seed(1)
            came.append(train(loader_class))
            makers.append(set(made_by))
    return came, makers


# -- Lightning


class Line(lightning.LightningModule):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.losses: list[float] = []

    def training_step(self, batch: Any) -> Tensor:
        loss = nn.functional.mse_loss(self.layer(batch[0]), batch[1])
        self.losses.append(loss.item())
        return loss

    def predict_step(self, batch: Any) -> Any:
        return self.layer(batch[0])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer() -> Any:
    return lightning.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.mark.parametrize(("workers", "backend"), [(0, "inline"), (2, "processes")])
def test_lightning_trains_on_it(made_by: list[str], workers: int, backend: str) -> None:
    def train(loader_class: Any) -> list[float]:
        model = Line()
        trainer().fit(model, points(loader_class, workers))
        return model.losses

    losses, makers = three_ways(train, made_by)

    assert makers == [{"torch"}, {backend}, {backend}]
    assert len(losses[0]) == BATCHES
    assert losses[1] == losses[2] == losses[0]


def test_lightning_makes_another_with_the_same_plan(made_by: list[str]) -> None:
    plan = Plan(workers=1, threads=2, prefetch=2, backend="processes")
    loader = wellfed.DataLoader(
        Points(), batch_size=BATCH, num_workers=2, plan=plan, thread_safe=True
    )
    run = trainer()

    predicted = run.predict(Line(), loader)

    again = run.predict_dataloaders
    assert len(predicted) == SAMPLES // BATCH
    assert again is not loader
    assert type(again) is wellfed.DataLoader
    assert (again.plan, again.thread_safe) == (plan, True)
    assert made_by == ["processes"]


# -- Accelerate


def accelerated(loader_class: Any) -> list[float]:
    accelerator = accelerate.Accelerator(cpu=True)
    layer = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    layer, optimizer, loader = accelerator.prepare(layer, optimizer, points(loader_class, 2))
    losses = []
    for _ in range(EPOCHS):
        for inputs, targets in loader:
            loss = nn.functional.mse_loss(layer(inputs), targets)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    return losses


def test_accelerate_trains_on_it_under_install(made_by: list[str]) -> None:
    """Its `prepare` builds a loader of torch's class anew from ours, which `install()` serves."""
    losses, makers = three_ways(accelerated, made_by)

    assert makers == [{"torch"}, {"torch"}, {"processes"}]
    assert len(losses[0]) == BATCHES
    assert losses[1] == losses[2] == losses[0]


# -- Transformers


class Regression(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.losses: list[float] = []

    def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        output = self.layer(inputs)
        loss = nn.functional.mse_loss(output, labels)
        self.losses.append(loss.item())
        return {"loss": loss, "logits": output}


class Named(Points):
    def __getitem__(self, index: int) -> Any:
        return dict(zip(("inputs", "labels"), super().__getitem__(index), strict=True))


class WithLoader(transformers.Trainer):  # type: ignore[misc]
    """Is handed a loader."""

    loader: Any = None

    def get_train_dataloader(self) -> Any:
        return self.loader or super().get_train_dataloader()


def test_transformers_trains_on_it(made_by: list[str], tmp_path: Any) -> None:
    def train(loader_class: Any) -> list[float]:
        model = Regression()
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path),
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=BATCH,
            dataloader_num_workers=2,
            dataloader_pin_memory=False,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        run = WithLoader(model=model, args=arguments, train_dataset=Named())
        if loader_class is wellfed.DataLoader:
            prepared = run.get_train_dataloader()
            run.loader = loader_class(Named(), batch_sampler=prepared.batch_sampler, num_workers=2)
        run.train()
        return model.losses

    losses, makers = three_ways(train, made_by)

    assert makers == [{"torch"}, {"processes"}, {"processes"}]
    assert len(losses[0]) == BATCHES
    assert losses[2] == losses[0]


# -- PyTorch Geometric


class Graphs(Dataset[Data]):
    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> Data:
        nodes = 2 + index % 3
        edges = torch.tensor([[0, 1], [1, 0]])
        return Data(x=torch.rand(nodes, 3), edge_index=edges, y=torch.tensor([index]))


def told(graphs: Batch) -> tuple[Any, ...]:
    return tuple(
        getattr(graphs, name).tolist() for name in ("x", "edge_index", "y", "batch", "ptr")
    )


@pytest.mark.parametrize(("workers", "backend"), [(0, "inline"), (2, "processes")])
def test_geometric_batches_graphs_on_it(made_by: list[str], workers: int, backend: str) -> None:
    def load(loader_class: Any) -> list[Any]:
        settings: dict[str, Any] = {"batch_size": BATCH, "shuffle": True, "num_workers": workers}
        if loader_class is wellfed.DataLoader:
            loader = loader_class(Graphs(), collate_fn=Batch.from_data_list, **settings)
        else:
            loader = GraphLoader(Graphs(), **settings)
        batches = list(loader)
        assert all(isinstance(one, Batch) for one in batches)
        return [told(one) for one in batches]

    graphs, makers = three_ways(load, made_by)

    assert makers == [{"torch"}, {backend}, {backend}]
    assert graphs[1] == graphs[2] == graphs[0]


def neighbours(base: Any) -> Any:
    """What PyTorch Geometric's NodeLoader is: its iterator is wrapped, and its batches changed."""

    class Neighbours(base):  # type: ignore[misc]
        def _get_iterator(self) -> Any:
            return DataLoaderIterator(super()._get_iterator(), lambda batch: batch[0] * 2)

    return Neighbours


def test_a_loader_that_wraps_its_iterator_wraps_ours() -> None:
    told, makers = [], []
    for base in (DataLoader, wellfed.DataLoader):
        torch.manual_seed(1)
        with wellfed.install():
            iterator = iter(points(neighbours(base), 2))
            makers.append(getattr(iterator.iterator, "backend", "torch"))
            told.append([batch.tolist() for batch in iterator])

    assert makers == ["torch", "processes"]
    assert len(told[0]) == SAMPLES // BATCH
    assert told[1] == told[0]


# -- in processes of their own, because they change what is torch's


def test_torchdata_keeps_its_own_iterator_and_resumes(tmp_path: Any) -> None:
    ran = python(tmp_path, str(SCRIPTS / "stateful_installed.py"))

    assert ran.code == 0, ran
    assert ran.out == "torch [0, 1, 2, 3, 4, 5]\ntorch [4, 5]\n"


def test_workers_that_are_threads_run_on_torch(tmp_path: Any) -> None:
    ran = python(tmp_path, str(SCRIPTS / "threaded_context.py"))

    assert ran.code == 0, ran
    assert ran.out == "torch [0, 1, 2, 3, 4, 5]\n" * 2


# -- watched


def test_a_watched_run_follows_no_process_of_the_engine() -> None:
    with wellfed.observe() as seen:
        for _ in range(3):
            assert len(list(points(wellfed.DataLoader, 1))) == SAMPLES // BATCH

    trace = seen.diagnose().trace
    assert trace.failures == ()
    assert len(trace.spans) == 3 * SAMPLES // BATCH
