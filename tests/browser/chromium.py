"""A real browser for the tests of the page: Debian's Chromium."""

import contextlib
import os
import shutil
import subprocess
from functools import cache

NO_BROWSER = "no Chromium on this machine, and none could be installed"
INSTALL = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium"]


@cache
def chromium() -> str | None:
    """Where it is; installed first where it is missing and that is allowed."""
    found = shutil.which("chromium")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        with contextlib.suppress(subprocess.TimeoutExpired):
            _run(["apt-get", "update", "-q"], 50)
            _run(INSTALL, 100)
        found = shutil.which("chromium")
    return found


def _run(command: list[str], seconds: float) -> None:
    subprocess.run(command, check=False, capture_output=True, timeout=seconds)
