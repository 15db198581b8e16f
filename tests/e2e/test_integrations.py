"""Lightning's and Hugging Face's Trainers log how long they wait, and say at the end why."""

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from wellfed.records import load

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what frameworks warn of among themselves
    import lightning
    import transformers

    from wellfed.integrations import lightning as ours_lightning
    from wellfed.integrations import transformers as ours_transformers

pytestmark = pytest.mark.filterwarnings("default")

BATCHES = 60
BATCH = 4


class Slow(Dataset[dict[str, Tensor]]):
    """Some work in every sample."""

    def __len__(self) -> int:
        return BATCHES * BATCH

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        hashlib.sha256(bytes(300_000))
        words = torch.arange(index, index + 8) % 16
        return {"input_ids": words, "labels": words}


class Module(lightning.LightningModule):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 1)
        self.told: list[str] = []

    def training_step(self, batch: Any) -> Tensor:
        loss: Tensor = self.layer(batch["input_ids"].float()).mean()
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def fit(callback: Any, folder: Path, module: Any = None) -> Any:
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        callbacks=[callback],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(module or Module(), DataLoader(Slow(), batch_size=BATCH))
    return trainer


def test_lightning_logs_the_wait_and_keeps_the_report(tmp_path: Path) -> None:
    callback = ours_lightning.WellfedCallback(
        str(tmp_path / "run.json.gz"), every=20, export=[f"jsonl:{tmp_path / 'run.jsonl'}"]
    )

    trainer = fit(callback, tmp_path)

    assert 0 < trainer.callback_metrics["wellfed/wait_share"] <= 1
    assert trainer.callback_metrics["wellfed/samples_per_s"] > 0
    assert callback.report is not None
    assert len(callback.report.trace.spans) == BATCHES
    assert load(tmp_path / "run.json.gz") == callback.report
    lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert lines[-1]["kind"] == "verdict"


def test_a_training_that_fails_is_watched_no_more(tmp_path: Path) -> None:
    class Failing(Module):
        def training_step(self, batch: Any) -> Tensor:
            raise ArithmeticError("diverged")

    before = DataLoader.__init__
    callback = ours_lightning.WellfedCallback()
    with pytest.raises(ArithmeticError, match="diverged"):
        fit(callback, tmp_path, Failing())

    assert DataLoader.__init__ is before


def test_transformers_logs_the_wait_and_keeps_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = DataLoader.__init__
    callback = ours_transformers.WellfedCallback(str(tmp_path / "run.json.gz"))
    config = transformers.GPT2Config(vocab_size=16, n_positions=8, n_embd=8, n_layer=1, n_head=1)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=BATCHES,
        per_device_train_batch_size=BATCH,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_steps=20,
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(
        transformers.GPT2LMHeadModel(config),
        arguments,
        train_dataset=Slow(),
        callbacks=[callback],
    )

    trainer.train()

    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(logged) == 3
    assert all(0 < entry["wellfed/wait_share"] <= 1 for entry in logged)
    assert callback.report is not None
    assert len(callback.report.trace.spans) == BATCHES
    assert load(tmp_path / "run.json.gz") == callback.report
    assert "VERDICT" in capsys.readouterr().out
    assert DataLoader.__init__ is before
