"""Trains, writes a checkpoint at every step, and is killed; or goes on from the last checkpoint."""

import os
import random
import signal
import sys
from pathlib import Path

import torch
from torch.utils.data import Dataset

import wellfed

EPOCHS = 2


class Noisy(Dataset):
    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.randn(()) + index + random.random()


def main(folder: Path, workers: str, processes: str, killed_at: int) -> None:
    torch.manual_seed(len(sys.argv))
    loader = wellfed.DataLoader(
        Noisy(),
        batch_size=4,
        shuffle=True,
        num_workers=int(workers),
        generator=torch.Generator().manual_seed(5),
        plan=wellfed.records.Plan(backend="processes", workers=int(processes), prefetch=2),
    )
    epoch = step = 0
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        epoch, step = saved["epoch"], saved["step"]
        loader.load_state_dict(saved["loader"])
    while epoch < EPOCHS:
        for batch in loader:
            print(epoch, step, batch.tolist(), flush=True)
            step += 1
            parts = {"epoch": epoch, "step": step, "loader": loader.state_dict()}
            torch.save(parts, folder / "part")
            (folder / "part").rename(checkpoint)
            if step == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)
        epoch += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:4], int(sys.argv[4]))
