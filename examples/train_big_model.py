"""Train a wide residual network on small pictures that lie in memory."""

import argparse
import time
from itertools import islice

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """Pictures of 8-bit pixels, flipped at random."""

    def __init__(self, pictures: int, classes: int) -> None:
        self.labels = torch.randint(classes, (pictures,))
        shades = 96 + 64 * torch.rand(classes, 3, 1, 1)
        noise = 64 * torch.rand(pictures, 3, 32, 32)
        self.pixels = (shades[self.labels] + noise).to(torch.uint8)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        picture = self.pixels[index].float() / 128 - 1
        return picture.flip(2) if torch.rand(()) < 0.5 else picture, self.labels[index]


class Residual(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The input and what the convolutions make of it."""
        return nn.functional.relu(x + self.body(x))


def main() -> None:
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=512 if cuda else 64)
    parser.add_argument("--blocks", type=int, default=8 if cuda else 3)
    parser.add_argument("--threads", type=int, default=1, help="of the model, on a CPU")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--steps", type=int, help="end each epoch after so many")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--loader", choices=("torch", "wellfed"), default="torch")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--prefetch", type=int)
    parser.add_argument("--pin-memory", action="store_true")
    parser.add_argument("--persistent", action="store_true")
    args = parser.parse_args()
    if args.loader == "wellfed":
        from wellfed import DataLoader
    else:
        from torch.utils.data import DataLoader

    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    classes = 10
    loader = DataLoader(
        Pictures(5000, classes),
        batch_size=args.batch_size,
        shuffle=True,
        num_workers=args.workers,
        prefetch_factor=args.prefetch,
        pin_memory=args.pin_memory,
        persistent_workers=args.persistent,
    )
    device = torch.device("cuda" if cuda else "cpu")
    model = nn.Sequential(
        nn.Conv2d(3, args.width, 3, padding=1),
        *(Residual(args.width) for _ in range(args.blocks)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(args.width, classes),
    ).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    for epoch in range(args.epochs):
        began, seen = time.perf_counter(), 0
        for step, (images, labels) in enumerate(islice(loader, args.steps)):
            images = images.to(device, non_blocking=True)
            labels = labels.to(device, non_blocking=True)
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(labels)
            if step % 10 == 0:
                rate = seen / (time.perf_counter() - began)
                print(f"epoch {epoch} step {step:3d} loss {loss.item():.4f} {rate:.0f} imgs/s")


if __name__ == "__main__":
    main()
