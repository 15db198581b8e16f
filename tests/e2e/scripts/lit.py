"""lightning owns the loop: it trains and validates."""

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Module(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def training_step(self, batch, index):
        for _ in range(20):  # so that training is what takes the time
            loss = self.layer(batch[0]).mean()
        return loss

    def validation_step(self, batch, index):
        self.layer(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def rows(length: int) -> TensorDataset:
    return TensorDataset(torch.randn(length, 2))


training = DataLoader(rows(80), batch_size=4)  # training
validation = DataLoader(rows(8), batch_size=4)  # validation
trainer = lightning.Trainer(
    accelerator="cpu",
    max_epochs=500,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(Module(), training, validation)
