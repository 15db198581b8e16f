"""Batches hold annotations as Python dictionaries, which are pickled one by one."""

from torch.utils.data import DataLoader, Dataset


class Annotations(Dataset):
    """For each image a hundred boxes, as they stand in the JSON file."""

    def __init__(self) -> None:
        self.boxes = [{"label": n, "bbox": [n + 0.5, n + 1.5, 2.5, 3.5]} for n in range(100)]

    def __len__(self) -> int:
        return 65_536

    def __getitem__(self, index: int) -> list[dict]:
        return [dict(box, image=index) for box in self.boxes]


def keep(samples: list) -> list:
    return samples


def loader() -> DataLoader:
    return DataLoader(Annotations(), batch_size=32, num_workers=2, collate_fn=keep)


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
