"""Two ranks that meet at every step; the loader of rank 1 is slow."""

import os
import time

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset


class Far(Dataset):
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __len__(self) -> int:
        return 100_000

    def __getitem__(self, index: int) -> torch.Tensor:
        time.sleep(self.seconds)
        return torch.tensor(index)


def main() -> None:
    dist.init_process_group("gloo")
    late = os.environ["RANK"] == "1"
    loader = DataLoader(Far(0.02 if late else 0.0), batch_size=2, num_workers=1)  # here
    for batch in loader:
        dist.all_reduce(batch.float())
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
