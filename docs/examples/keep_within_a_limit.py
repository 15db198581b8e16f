"""The code of docs/how-to/keep-within-a-limit.md, section by section; a test runs all of it."""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from wellfed import DataLoader


class Frames(Dataset[Tensor]):
    def __len__(self) -> int:
        return 128

    def __getitem__(self, index: int) -> Tensor:
        return torch.full((500_000,), float(index))  # 2 MB


dataset = Frames()
MB = 1_000_000

# --8<-- [start:limit]
loader = DataLoader(
    dataset, batch_size=4, num_workers=2, prefetch_factor=16, memory_limit="120MB"
)  # 32 batches of 8 MB would be 256 MB
# --8<-- [end:limit]

batches = iter(loader)
most = 0
for _ in batches:
    if batches.is_open:
        most = max(most, batches._stream._crew.shelves.bytes)
assert most <= 100 * MB

# --8<-- [start:report]
for sentence in loader.report().trace.limited:
    print(sentence)
# --8<-- [end:report]

assert loader.report().trace.limited[0].startswith("Memory is short (memory_limit)")

# --8<-- [start:refused]
from wellfed.errors import PlanTooLarge
from wellfed.records import Plan

plan = Plan(backend="processes", workers=64, prefetch=2)
loader = DataLoader(dataset, batch_size=4, num_workers=64, plan=plan, memory_limit="400MB")
try:
    next(iter(loader))
except PlanTooLarge as error:
    print(error)
# --8<-- [end:refused]
