"""Trains with a W&B run of its own, offline, and exports to it; prints what the run holds."""

import json

import torch
import wandb
from torch.utils.data import DataLoader, TensorDataset

import wellfed

run = wandb.init(project="trees", mode="offline")
with wellfed.observe(export=["wandb"]):
    loader = DataLoader(TensorDataset(torch.arange(40_000.0)), batch_size=4)
    for number, _ in enumerate(loader):
        if number % 1000 == 0:
            run.log({"loss": 1.0 / (number + 1)})
run.log({"loss": 0.0})
told = {"steps": run.step, "summary": dict(run.summary)}
run.finish()
print(json.dumps(told))
