"""The code of docs/how-to/resume.md, section by section; a test runs all of it."""

import io
import logging

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from wellfed import DataLoader

logging.disable()


class Noisy(Dataset[Tensor]):
    """A sample is drawn anew each time."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Tensor:
        return index + torch.rand(())


def train_on(batch: Tensor) -> None:
    """Stands for a step."""


dataset = Noisy()
checkpoint = io.BytesIO()
STEP = 5

# --8<-- [start:save]
loader = DataLoader(
    dataset,
    batch_size=8,
    shuffle=True,
    num_workers=2,
    generator=torch.Generator().manual_seed(1),
)

for step, batch in enumerate(loader, 1):
    train_on(batch)
    if step == STEP:
        torch.save({"loader": loader.state_dict()}, checkpoint)
        # --8<-- [end:save]
        rest = []
    elif step > STEP:
        rest.append(batch)

next_epoch = list(loader)
checkpoint.seek(0)

# --8<-- [start:load]
loader = DataLoader(
    dataset,
    batch_size=8,
    shuffle=True,
    num_workers=2,
    generator=torch.Generator().manual_seed(1),
)
saved = torch.load(checkpoint, weights_only=True)
loader.load_state_dict(saved["loader"])

for batch in loader:  # what was left of that epoch
    train_on(batch)
# --8<-- [end:load]

assert all(torch.equal(a, b) for a, b in zip(list(loader), next_epoch, strict=True))

loader.load_state_dict(saved["loader"])
assert all(torch.equal(a, b) for a, b in zip(list(loader), rest, strict=True))


# --8<-- [start:stateful]
class Lines(IterableDataset[str]):
    """Lines of a file, from where it was left."""

    def __init__(self, lines: list[str]) -> None:
        self.lines, self.begin, self.at = lines, 0, -1

    def __iter__(self):
        begin, self.begin = self.begin, 0
        for at in range(begin, len(self.lines)):
            self.at = at
            yield self.lines[at]

    def state_dict(self) -> dict[str, int]:
        return {"next": self.at + 1}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.begin = state["next"]


# --8<-- [end:stateful]


def lines() -> DataLoader[str]:
    """A loader of ten of them."""
    return DataLoader(Lines([str(number) for number in range(10)]), batch_size=2, num_workers=1)


batches = iter(lines_loader := lines())
next(batches), next(batches)
state = lines_loader.state_dict()
again = lines()
again.load_state_dict(state)
assert list(again) == [["4", "5"], ["6", "7"], ["8", "9"]]
