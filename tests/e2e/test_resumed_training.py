"""Training that is killed, and frameworks that save checkpoints, go on exactly where they were."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import SCRIPTS, python
from torch import Tensor, nn
from torch.utils.data import Dataset

import wellfed

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what frameworks warn of among themselves
    import lightning
    from lightning.pytorch.callbacks import ModelCheckpoint

SAMPLES, BATCH, EPOCHS = 24, 4, 3
STEPS = EPOCHS * SAMPLES // BATCH

pytestmark = pytest.mark.filterwarnings("default")


def test_a_killed_training_goes_on_with_the_same_batches(tmp_path: Path) -> None:
    """Its workers are killed with it; those that go on are as many processes as one likes."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    killed_at = 11  # in the second epoch
    script = str(SCRIPTS / "resuming.py")

    whole = python(tmp_path, script, "whole", "2", "2", "-1")
    killed = python(tmp_path, script, "killed", "2", "2", str(killed_at))
    resumed = python(tmp_path, script, "killed", "2", "1", "-1")

    assert (whole.code, killed.code, resumed.code) == (0, -9, 0)
    assert len(killed.out.splitlines()) == killed_at
    assert killed.out + resumed.out == whole.out


class Points(Dataset[tuple[Tensor, Tensor]]):
    """Points on a line, shifted at random: their losses tell how often each generator was asked."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        point = torch.tensor([index / SAMPLES]) + torch.rand(1)
        return point, 3 * point + 1


class Line(lightning.LightningModule):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.losses: list[float] = []

    def training_step(self, batch: Any) -> Tensor:
        loss = nn.functional.mse_loss(self.layer(batch[0]), batch[1])
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder: Path, workers: int, checkpoint: Path | None) -> list[float]:
    torch.manual_seed(0 if checkpoint is None else 9)
    model = Line()
    run = lightning.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        callbacks=ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = wellfed.DataLoader(
        Points(),
        batch_size=BATCH,
        shuffle=True,
        num_workers=workers,
        generator=torch.Generator().manual_seed(4),
    )
    run.fit(model, loader, ckpt_path=checkpoint)
    return model.losses


def test_lightning_goes_on_within_an_epoch(tmp_path: Path) -> None:
    undisturbed = fit(tmp_path / "whole", 2, None)

    assert len(undisturbed) == STEPS
    for step in (6, 9):  # at the end of an epoch, and within one
        losses = fit(tmp_path / "again", 2, tmp_path / "whole" / f"step={step}.ckpt")
        assert losses == undisturbed[step:]
