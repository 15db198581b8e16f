"""The code of docs/how-to/replace-the-loader.md, section by section; a test runs all of it."""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from wellfed.testing import Latency


class Squares(Dataset[Tensor]):
    def __len__(self) -> int:
        return 256

    def __getitem__(self, index: int) -> Tensor:
        return torch.tensor(index) ** 2


dataset = Squares()
remote = Latency(0.001, length=64)


# --8<-- [start:import]
from wellfed import DataLoader  # instead of: from torch.utils.data import DataLoader

loader = DataLoader(dataset, batch_size=32, shuffle=True, num_workers=2)
# --8<-- [end:import]

assert len(list(loader)) == 8

# --8<-- [start:auto]
loader = DataLoader(dataset, batch_size=32, shuffle=True, num_workers="auto")
# --8<-- [end:auto]

assert len(list(loader)) == 8

# --8<-- [start:threads]
loader = DataLoader(remote, batch_size=16, num_workers="auto", thread_safe=True)
# --8<-- [end:threads]

assert len(list(loader)) == 4

# --8<-- [start:device]
device = torch.accelerator.current_accelerator(check_available=True)
loader = DataLoader(dataset, batch_size=32, num_workers=2, device=device)
# --8<-- [end:device]

assert len(list(loader)) == 8

# --8<-- [start:plan]
from wellfed.records import Plan

loader = DataLoader(
    dataset,
    batch_size=32,
    num_workers=4,  # as torch counts them: they decide the random draws
    plan=Plan(backend="processes", workers=2, prefetch=4),  # what really runs
)
# --8<-- [end:plan]

assert len(list(loader)) == 8

# --8<-- [start:threads_by_hand]
plan = Plan(backend="processes", workers=2, threads=8)
loader = DataLoader(remote, batch_size=16, num_workers=2, thread_safe=True, plan=plan)
# --8<-- [end:threads_by_hand]

assert len(list(loader)) == 4

# --8<-- [start:backend]
loader = DataLoader(dataset, batch_size=32, num_workers=2)
batches = iter(loader)
print(getattr(batches, "backend", "torch"))  # processes
# --8<-- [end:backend]

assert batches.backend == "processes"
assert len(list(batches)) == 8

# --8<-- [start:log]
import logging

logging.basicConfig()
logging.getLogger("wellfed").setLevel(logging.INFO)
# --8<-- [end:log]

# --8<-- [start:report]
import wellfed

for _ in loader:
    pass  # your training step
print(wellfed.render(loader.report()))
# --8<-- [end:report]

# --8<-- [start:torchs]
loader = DataLoader(dataset, batch_size=32, num_workers=2, plan=Plan(backend="torch"))
# --8<-- [end:torchs]

assert not hasattr(iter(loader), "backend")
