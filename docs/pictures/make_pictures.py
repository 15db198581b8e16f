"""Draw the pictures of the documentation from one real run: the demo's first.

    page-light.png, page-dark.png         the first screen of the report's page
    workers-light.png, workers-dark.png   speed against num_workers, from further down
    card.svg                              the card in a terminal

Usage:
    python docs/pictures/make_pictures.py [report.json]

Without a report it makes one: it trains on the demo's pictures for ten seconds. Needs Chromium.
"""

import argparse
import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.text import Text

import wellfed
from wellfed._report.html import render_html
from wellfed.records import Report

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples"
COLUMNS = 80
SCREEN = {"width": 1100, "height": 760}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    report = without_folders(wellfed.load(args.report or watched()))
    (args.out / "card.svg").write_text(card(report), encoding="utf-8")
    photograph(report, args.out)


def watched() -> Path:
    """A report of the demo's first run."""
    folder = Path(tempfile.mkdtemp(prefix="wellfed-pictures-"))
    command = [sys.executable, "-m", "wellfed", "diagnose", "--seconds", "10"]
    saved = folder / "report.json"
    subprocess.run([*command, "--json", saved, EXAMPLES / "train_images.py"], check=True)
    return saved


def without_folders(report: Report) -> Report:
    """The report as a reader's own would look: no folders of the machine it was made on."""
    text = msgspec.json.encode(report).decode().replace(f"{EXAMPLES}/", "")
    return msgspec.json.decode(text, type=Report)


def card(report: Report) -> str:
    """The card as a terminal shows it, drawn."""
    text = wellfed.render(report, width=COLUMNS, color=True)
    console = Console(width=COLUMNS, record=True, file=io.StringIO(), color_system="truecolor")
    console.print(Text.from_ansi(text), end="")
    drawn = console.export_svg(title="wellfed diagnose train_images.py", unique_id="card")
    # A picture that asks another server for its font is a picture that phones home.
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)


def photograph(report: Report, out: Path) -> None:
    """The page, as a browser shows it."""
    path = shutil.which("chromium")
    if path is None:
        sys.exit("no Chromium on this machine: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder) / "report.html"
        page.write_text(render_html(report), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            take(browser, page, scheme, out)
        browser.close()


def take(browser: Browser, page: Path, scheme: str, out: Path) -> None:
    """The first screen in that scheme, and one figure."""
    seen = browser.new_page(viewport=SCREEN, color_scheme=scheme)
    seen.goto(page.as_uri())
    seen.wait_for_selector("#chart-workers .main-svg")
    seen.screenshot(path=out / f"page-{scheme}.png")
    figure = seen.locator("figure", has=seen.locator("#chart-workers"))
    figure.screenshot(path=out / f"workers-{scheme}.png")
    seen.close()


if __name__ == "__main__":
    main()
