"""Train a small convolutional network on a folder of JPEG files, one directory a class."""

import argparse
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from make_jpegs import DEFAULT_DIR, make_jpegs
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


class JpegFolder(Dataset[tuple[Tensor, int]]):
    """Pictures in `root/class/*.jpg`, randomly cropped and flipped."""

    def __init__(self, root: Path, size: int = 224) -> None:
        self.size = size
        self.classes = sorted(path.name for path in root.iterdir() if path.is_dir())
        self.samples = [
            (path, label)
            for label, name in enumerate(self.classes)
            for path in sorted((root / name).glob("*.jpg"))
        ]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.samples[index]
        with Image.open(path) as file:
            picture = file.convert("RGB")
        box = random_box(*picture.size)
        picture = picture.resize((self.size, self.size), Image.Resampling.BILINEAR, box)
        if torch.rand(()) < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
        return (pixels - MEAN) / STD, label


def random_box(width: int, height: int) -> tuple[int, int, int, int]:
    """Between a quarter and all of the picture, anywhere in it."""
    scale = float(torch.empty(()).uniform_(0.5, 1))
    w, h = round(width * scale), round(height * scale)
    left = int(torch.randint(width - w + 1, ()))
    top = int(torch.randint(height - h + 1, ()))
    return left, top, left + w, top + h


def build_model(classes: int) -> nn.Module:
    def block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

    return nn.Sequential(
        block(3, 12, 4),
        block(12, 24, 2),
        block(24, 48, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(48, classes),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_DIR, help="made if it is not there")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--steps", type=int, help="end each epoch after so many")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1, help="of the model, on a CPU")
    parser.add_argument("--loader", choices=("torch", "wellfed"), default="torch")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--prefetch", type=int)
    parser.add_argument("--pin-memory", action="store_true")
    parser.add_argument("--persistent", action="store_true")
    args = parser.parse_args()
    if args.loader == "wellfed":
        from wellfed import DataLoader
    else:
        from torch.utils.data import DataLoader

    torch.manual_seed(0)
    torch.set_num_threads(args.threads)  # more would fight the workers for the cores
    if not args.data.exists():
        make_jpegs(args.data)
    dataset = JpegFolder(args.data)
    loader = DataLoader(
        dataset,
        batch_size=args.batch_size,
        shuffle=True,
        num_workers=args.workers,
        prefetch_factor=args.prefetch,
        pin_memory=args.pin_memory,
        persistent_workers=args.persistent,
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build_model(len(dataset.classes)).to(device)
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
