"""The collate function pads in Python, number by number."""

import torch
from torch.utils.data import DataLoader, Dataset


class Sentences(Dataset):
    """Lists of token numbers, of different lengths."""

    def __len__(self) -> int:
        return 16_384

    def __getitem__(self, index: int) -> list[int]:
        return list(range(500 + index % 500))


def pad(sentences: list[list[int]]) -> torch.Tensor:
    longest = max(len(sentence) for sentence in sentences)
    return torch.tensor(
        [
            [sentence[place] if place < len(sentence) else 0 for place in range(longest)]
            for sentence in sentences
        ]
    )


def loader() -> DataLoader:
    return DataLoader(Sentences(), batch_size=32, num_workers=1, collate_fn=pad)


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
