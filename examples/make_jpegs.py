"""Make a folder of JPEG photographs, without a network: DIR/class_00/000.jpg, 001.jpg, ...

They have the size and the weight of ImageNet's: about 500 x 375 pixels and 100 KB each. Made once:
a second run with the same options finds them and does nothing.
"""

import argparse
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

DEFAULT_DIR = Path(tempfile.gettempdir()) / "demo-jpegs"

# Cells across and weight in the mix, coarse to fine: nature's spectrum falls off with frequency.
OCTAVES = ((3, 0.5), (12, 0.35), (50, 0.25), (200, 0.15))


def draw_picture(rng: np.random.Generator, label: int) -> Image.Image:
    """A tinted landscape of smooth noise, a few shapes, and the grain of a sensor."""
    size = (int(rng.integers(440, 561)), int(rng.integers(330, 421)))
    tint = np.random.default_rng(label).integers(40, 216, 3)
    picture = Image.new("RGB", size, tuple(tint.tolist()))
    for cells, weight in OCTAVES:
        noise = rng.integers(0, 256, (cells * 3 // 4, cells, 3), dtype=np.uint8)
        layer = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
        picture = Image.blend(picture, layer, weight)
    canvas = ImageDraw.Draw(picture)
    for _ in range(rng.integers(3, 9)):
        x, y, reach = rng.integers((0, 0, 15), (440, 330, 120)).tolist()
        shape = canvas.ellipse if rng.random() < 0.5 else canvas.rectangle
        shape((x, y, x + reach, y + reach), fill=tuple(rng.integers(0, 256, 3).tolist()))
    grain = rng.standard_normal((size[1], size[0], 3), dtype=np.float32) * rng.uniform(8, 18)
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))


def make_jpegs(directory: Path, images: int = 1200, classes: int = 10, seed: int = 0) -> bool:
    """Fill `directory`; False if it already holds these very pictures.

    It appears whole or not at all, also when the run is interrupted or two runs race.
    """
    recipe = json.dumps({"images": images, "classes": classes, "seed": seed})
    stamp = directory / "made.json"
    if stamp.exists() and stamp.read_text() == recipe:
        return False
    if directory.exists() and any(directory.iterdir()):
        raise SystemExit(f"{directory} holds something else; name an empty or a new directory.")

    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix="making-jpegs-") as scratch:
        made = Path(scratch) / "jpegs"
        for label in range(classes):
            (made / f"class_{label:02d}").mkdir(parents=True)

        def make(index: int) -> None:
            number, label = divmod(index, classes)
            picture = draw_picture(np.random.default_rng([seed, index]), label)
            picture.save(made / f"class_{label:02d}" / f"{number:03d}.jpg", quality=90)

        # Threads suffice: NumPy and Pillow let go of the GIL for nearly all of the work.
        with ThreadPoolExecutor() as pool:
            list(pool.map(make, range(images)))
        (made / stamp.name).write_text(recipe)
        try:
            made.rename(directory)
        except OSError:  # another run was first: a directory replaces only an empty one
            return make_jpegs(directory, images, classes, seed)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?", default=DEFAULT_DIR)
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    made = make_jpegs(args.directory, args.images, args.classes, args.seed)
    print(f"{args.images} pictures {'made in' if made else 'were already in'} {args.directory}")


if __name__ == "__main__":
    main()
