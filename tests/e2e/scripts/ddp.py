"""Two ranks train together, started by torchrun or by themselves; only rank 0 validates."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


def train(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", rank=rank, world_size=2)
    delivered = 0
    try:
        model = DistributedDataParallel(nn.Linear(2, 1))
        dataset = TensorDataset(torch.randn(400, 2))
        sampler = DistributedSampler(dataset)
        loader = DataLoader(dataset, batch_size=4, sampler=sampler)  # here
        validation = DataLoader(dataset, batch_size=40)
        while True:
            for (batch,) in loader:
                delivered += 1
                model(batch).mean().backward()
            if rank == 0:
                for _ in validation:
                    pass
    finally:
        Path(folder, f"delivered-{rank}").write_text(str(delivered))
        dist.destroy_process_group()


if __name__ == "__main__":
    if "RANK" in os.environ:
        train(int(os.environ["RANK"]), sys.argv[1])
    else:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=sys.argv[2])
        mp.spawn(train, (sys.argv[1],), nprocs=2)
        print("all ranks ended")
