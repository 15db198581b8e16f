"""Plants fake /proc and /sys trees."""

from pathlib import Path

STAT = """\
cpu  {busy} 0 0 1000 0 0 0 {steal} 0 0
cpu0 {busy} 0 0 500 0 0 0 {steal} 0 0
cpu1 0 0 0 500 0 0 0 0 0 0
procs_running 3
"""


def plant(root: Path, files: dict[str, str]) -> Path:
    """Write each file below `root`, keyed by its absolute path; gives `root` back."""
    for path, text in files.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


def mountinfo(*mounts: tuple[str, str, str, str]) -> str:
    """Lines of (root, point, kind, options)."""
    return "".join(
        f"{number} 1 0:{number} {root} {point} rw,relatime shared:1 - {kind} {kind} {options}\n"
        for number, (root, point, kind, options) in enumerate(mounts, start=20)
    )


def process_stat(pid: int, parent: int, cpu_ticks: int, start_ticks: int = 7) -> str:
    """A /proc/<pid>/stat whose name tries to confuse; 3 pages are resident."""
    before = f"{pid} (a) S 1 (b) S {parent} " + "0 " * 9
    return before + f"{cpu_ticks} 0 0 0 20 0 1 0 {start_ticks} 0 3\n"
