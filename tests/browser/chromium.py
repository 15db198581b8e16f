"""A real browser for the tests of the page: Debian's Chromium."""

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
        subprocess.run(["apt-get", "update", "-q"], check=False, capture_output=True, timeout=100)
        subprocess.run(INSTALL, check=False, capture_output=True, timeout=160)
        found = shutil.which("chromium")
    return found
