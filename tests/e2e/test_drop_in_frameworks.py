"""Frameworks get the same batches and come to the same losses on our engine, and do run on it."""

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import SCRIPTS, python, run
from torch import Tensor, nn
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import Dataset

import wellfed
from wellfed._engine.iterator import EngineIterator
from wellfed.records import Plan


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """Inputs with noise from torch's generator, and targets."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.full((4,), float(index)) / 24 + torch.rand(4) / 9, torch.ones(1) * index / 24


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who made the batches of each iterator of ours, so that a fallback cannot pass for it."""
    seen: list[str] = []
    original = EngineIterator.__init__

    def init(self: Any, *args: Any) -> None:
        original(self, *args)
        seen.append(self.backend)

    monkeypatch.setattr(EngineIterator, "__init__", init)
    return seen


def model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Linear(4, 1)


# -- lightning


def lightning_losses(loader: Any) -> list[float]:
    import lightning

    class Lit(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = model()
            self.losses: list[float] = []

        def training_step(self, batch: Any, _: int) -> Tensor:
            loss = nn.functional.mse_loss(self.inner(batch[0]), batch[1])
            self.losses.append(loss.item())
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    lit = Lit()
    torch.manual_seed(2)
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(lit, loader)
    return lit.losses


QUIET = pytest.mark.filterwarnings("ignore")
"""What frameworks warn of is not ours to judge."""


@QUIET
def test_lightning_comes_to_the_same_losses(backends: list[str]) -> None:
    def losses(kind: Any) -> list[float]:
        return lightning_losses(kind(Pairs(), batch_size=4, shuffle=True, num_workers=2))

    expected = losses(TorchDataLoader)
    assert losses(wellfed.DataLoader) == expected
    assert backends == ["processes"] * 2

    with wellfed.install():
        assert losses(TorchDataLoader) == expected
    assert backends == ["processes"] * 4


@QUIET
def test_lightning_builds_our_loader_anew_with_all_of_our_options() -> None:
    from lightning.pytorch.utilities.data import _update_dataloader

    plan = Plan(backend="processes", workers=1, prefetch=2)
    loader = wellfed.DataLoader(Pairs(), num_workers=2, plan=plan, thread_safe=True)

    again = _update_dataloader(loader, loader.sampler)

    assert type(again) is wellfed.DataLoader
    assert (again.plan, again.thread_safe, again.num_workers) == (plan, True, 2)


# -- accelerate and transformers


@QUIET
def test_accelerate_comes_to_the_same_losses(backends: list[str]) -> None:
    from accelerate import Accelerator

    def losses(kind: Any) -> list[float]:
        accelerator = Accelerator(cpu=True)
        net = model()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        torch.manual_seed(2)
        loader = kind(Pairs(), batch_size=4, shuffle=True, num_workers=2)
        net, optimizer, loader = accelerator.prepare(net, optimizer, loader)
        losses = []
        for inputs, targets in loader:
            loss = nn.functional.mse_loss(net(inputs), targets)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        return losses

    expected = losses(TorchDataLoader)
    # It rebuilds torch's own class from our attributes: under install() that is ours again.
    assert losses(wellfed.DataLoader) == expected
    assert backends == []

    with wellfed.install():
        assert losses(wellfed.DataLoader) == losses(TorchDataLoader) == expected
    assert backends == ["processes"] * 2


def test_transformers_runs_on_the_engine(tmp_path: Path) -> None:
    script = str(SCRIPTS / "transformed.py")

    plain = python(tmp_path, script, str(tmp_path / "plain"))
    ours = run_command(tmp_path, script, str(tmp_path / "ours"))

    assert (ours.code, plain.code) == (0, 0)
    assert "trained 40\n" in ours.out
    assert "trained 40\n" in plain.out
    assert "Traceback" not in ours.said


def run_command(folder: Path, *words: str) -> Any:
    import sys

    return run([sys.executable, "-m", "wellfed", "run", *words], folder)


def test_a_script_that_fails_under_run_fails_as_its_own(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("import sys\nprint(sys.argv[1:])\nraise SystemExit(7)\n")

    ours = run_command(tmp_path, str(script), "--lr", "1")

    assert (ours.code, ours.out) == (7, "['--lr', '1']\n")


# -- torch_geometric, torchdata, and other ways to be a loader


@QUIET
def test_torch_geometric_batches_are_the_same(backends: list[str]) -> None:
    from torch_geometric.data import Data
    from torch_geometric.loader import DataLoader as GraphLoader

    graphs = [
        Data(x=torch.rand(n, 3), edge_index=torch.tensor([[0, 1], [1, 0]])) for n in range(2, 10)
    ]

    def batches() -> list[Any]:
        loader = GraphLoader(graphs, batch_size=4, num_workers=1)
        return [(batch.x.tolist(), batch.ptr.tolist(), type(batch).__name__) for batch in loader]

    expected = batches()
    with wellfed.install():
        assert batches() == expected
    assert backends == ["processes"]


@QUIET
def test_a_stateful_loader_keeps_its_own_iterator(backends: list[str]) -> None:
    with wellfed.install():
        from torchdata.stateful_dataloader import StatefulDataLoader

        loader = StatefulDataLoader(Pairs(), batch_size=4, num_workers=1)

        assert len(list(loader)) == 6
    assert backends == []


def test_a_subclass_that_wraps_the_iterator_is_served(backends: list[str]) -> None:
    class Wrapping(wellfed.DataLoader[Any]):
        def _get_iterator(self) -> Any:
            return map(len, super()._get_iterator())

    assert list(Wrapping(Pairs(), batch_size=5, num_workers=1)) == [2] * 5
    assert backends == ["processes"]


class _Thread(threading.Thread):
    """A thread that passes for a process, as MONAI's does."""

    pid = None

    def __init__(self, *, target: Callable[..., None], args: Any, **_: Any) -> None:
        super().__init__(target=target, args=args, daemon=True)


class Threads(BaseContext):
    _name = "threads"
    Process = _Thread


def test_a_context_that_is_not_pythons_is_torchs_own_business() -> None:
    from wellfed._engine.stock import why_stock

    loader = wellfed.DataLoader(Pairs(), num_workers=1, multiprocessing_context=Threads())

    assert "multiprocessing_context" in (why_stock(loader) or "")


class _Repeating:
    """A batch sampler that never ends, as timm's: the iterator is kept over the epochs."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield from iter(self.inner)


def test_an_iterator_that_never_ends_is_kept_over_the_epochs(backends: list[str]) -> None:
    loader = wellfed.DataLoader(Pairs(), batch_size=4, num_workers=1)
    object.__setattr__(loader, "batch_sampler", _Repeating(loader.batch_sampler))
    batches = iter(loader)

    targets = [next(batches)[1][0].item() for _ in range(14)]

    assert targets[:6] == targets[6:12]
    assert backends == ["processes"]


def test_a_loader_is_torchs_class_and_generic_and_guards_its_attributes() -> None:
    loader = wellfed.DataLoader[Any](Pairs(), batch_size=4)

    assert isinstance(loader, TorchDataLoader)
    with pytest.raises(ValueError, match="attribute should not be set after DataLoader"):
        loader.batch_size = 3


@pytest.mark.parametrize("again", [copy.copy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_of_a_loader_gives_the_same_batches(again: Callable[[Any], Any]) -> None:
    plan = Plan(backend="processes", workers=1, prefetch=2)
    loader = wellfed.DataLoader(Pairs(), batch_size=4, num_workers=2, plan=plan)

    other = again(loader)

    assert other.plan == plan
    for one, two in zip(batches_of(loader), batches_of(other), strict=True):
        assert torch.equal(one, two)


def batches_of(loader: Any) -> list[Tensor]:
    torch.manual_seed(5)
    return [batch[0] for batch in loader]


# -- install


def plain() -> Any:
    return iter(TorchDataLoader(Pairs(), num_workers=0))


def test_installing_twice_and_undoing_in_any_order_leaves_torch_as_it_was() -> None:
    original = TorchDataLoader._get_iterator
    first, second = wellfed.install(), wellfed.install()
    assert isinstance(plain(), EngineIterator)

    first.undo()
    assert isinstance(plain(), EngineIterator)

    second.undo()
    assert not isinstance(plain(), EngineIterator)
    first.undo()
    TorchDataLoader._get_iterator = original  # type: ignore[method-assign]


def test_a_watched_run_follows_no_process_of_the_engine(tmp_path: Path) -> None:
    with wellfed.observe() as seen:
        for _ in range(3):
            list(wellfed.DataLoader(Pairs(), batch_size=2, num_workers=1))

    report = seen.diagnose()

    assert report.trace.failures == ()
    assert len(report.trace.spans) == 36
