"""Two ranks train side by side for two epochs; each prints who made its batches and its losses."""

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, DistributedSampler


class Points(Dataset):
    def __len__(self):
        return 24

    def __getitem__(self, index):
        return torch.rand(2) + index / 24


if __name__ == "__main__":
    dist.init_process_group("gloo")
    torch.manual_seed(1)
    model = DistributedDataParallel(nn.Linear(2, 1))
    sampler = DistributedSampler(Points(), seed=2)
    loader = DataLoader(Points(), batch_size=3, sampler=sampler, num_workers=1)
    makers, losses = [], []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        batches = iter(loader)
        makers.append(getattr(batches, "backend", "torch"))
        for batch in batches:
            loss = model(batch).mean()
            loss.backward()
            losses.append(loss.item())
    dist.destroy_process_group()
    # In one write: the ranks share a pipe.
    os.write(1, f"rank {os.environ['RANK']} {makers} {losses}\n".encode())
