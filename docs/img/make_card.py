"""Draw the README's picture from a saved report.

Usage:
    wellfed diagnose --json report.json examples/train_images.py
    python docs/img/make_card.py report.json
"""

import argparse
import io
import re
from pathlib import Path

from rich.console import Console
from rich.text import Text

import wellfed

WIDTH = 80
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("card.svg"))
    args = parser.parse_args()
    card = wellfed.render(wellfed.load(args.report), width=WIDTH, color=True)
    card = card.replace(f"{EXAMPLES}/", "")
    console = Console(width=WIDTH, record=True, file=io.StringIO(), color_system="truecolor")
    console.print(Text.from_ansi(card), end="")
    drawn = console.export_svg(title="wellfed diagnose train_images.py")
    # A picture that asks another server for its font is a picture that phones home.
    args.out.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL))


if __name__ == "__main__":
    main()
