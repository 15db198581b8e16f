"""A loop over `wellfed.DataLoader`: python engine.py (cpu|far|stream|rows) WORKERS."""

import sys
import time

import torch
from torch.utils.data import TensorDataset

import wellfed
from wellfed.testing import CpuBurn, Latency, Streamed, spin

DATASETS = {
    "cpu": CpuBurn(0.001),
    "far": Latency(0.004),
    "stream": Streamed(Latency(0.004), shards=4),
    "rows": TensorDataset(torch.zeros(6400, 4)),
}
STEP_S = {"cpu": 0.0005, "rows": 0.005}


def main() -> None:
    kind, workers = sys.argv[1:]
    loader = wellfed.DataLoader(  # here
        DATASETS[kind], batch_size=8, num_workers=workers if workers == "auto" else int(workers)
    )
    for number, _ in enumerate(loader):
        spin(STEP_S.get(kind, 0)) if kind in STEP_S else time.sleep(0)
        if number == 120:
            break


if __name__ == "__main__":
    main()
