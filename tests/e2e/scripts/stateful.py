"""torchdata's loader, which brings iterators and worker loops of its own."""

import torch
from torch.utils.data import Dataset
from torchdata.stateful_dataloader import StatefulDataLoader


class Numbers(Dataset):
    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> torch.Tensor:
        if index < 0:
            raise ValueError
        return torch.tensor([index])


def epochs(workers: int, persistent: bool = False) -> StatefulDataLoader:
    loader = StatefulDataLoader(
        Numbers(), batch_size=4, num_workers=workers, persistent_workers=persistent
    )
    for _ in range(3):
        assert [int(batch[0]) for batch in loader] == [0, 4, 8, 12, 16, 20]
    return loader


def resumed() -> None:
    loader = StatefulDataLoader(Numbers(), batch_size=4, num_workers=2)
    iterator = iter(loader)
    next(iterator), next(iterator)
    state = loader.state_dict()
    other = StatefulDataLoader(Numbers(), batch_size=4, num_workers=2)
    other.load_state_dict(state)
    assert [int(batch[0]) for batch in other] == [8, 12, 16, 20]


if __name__ == "__main__":
    import sys

    import wellfed

    for name, train in {
        "none": lambda: epochs(0),
        "two": lambda: epochs(2),
        "persistent": lambda: epochs(2, persistent=True),
        "resumed": resumed,
    }.items():
        with wellfed.observe() as one:
            train()
        file = f"{sys.argv[1]}/{name}.json"
        one.diagnose().save(file)
