"""Draw the picture of the live panel, from trainings that run now.

Usage:
    python examples/train_images.py --loader wellfed --workers 2 --epochs 9 &
    python docs/img/make_top.py
"""

import argparse
import io
import re
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from wellfed._cli.gathering import Gathering
from wellfed._report.panel import panel

WIDTH = 80
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("top.svg"))
    args = parser.parse_args()
    gathering = Gathering()
    gathering.look()
    time.sleep(1)
    clock = f"{time.strftime('%H:%M:%S')} · q quits"
    text = panel(
        gathering.look(), now_unix_s=time.time(), clock=clock, width=WIDTH, color=True
    ).replace(f"{EXAMPLES}/", "")
    console = Console(width=WIDTH, record=True, file=io.StringIO(), color_system="truecolor")
    console.print(Text.from_ansi(text), end="")
    drawn = console.export_svg(title="wellfed top")
    # A picture that asks another server for its font is a picture that phones home.
    args.out.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL))


if __name__ == "__main__":
    main()
