"""Control groups with a limit, and files on a disk: what is done to the machine around a run.

Control groups are of version 1 and need root. A run joins them before it starts, as in a container.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from planted.recipe import Recipe

__all__ = ["inside", "joined", "may_limit", "prepared"]

GROUPS = Path("/sys/fs/cgroup")
PERIOD_US = 100_000  # the kernel's default


def may_limit() -> bool:
    """Whether control groups can be made here."""
    return all(os.access(GROUPS / one / "cgroup.procs", os.W_OK) for one in ("cpu", "blkio"))


@contextlib.contextmanager
def prepared(recipe: Recipe) -> Iterator[Recipe]:
    """The recipe with its files written and its control groups made, for as long as it lasts."""
    with contextlib.ExitStack() as stack:
        if recipe.dataset == "files":
            recipe = replace(recipe, folder=stack.enter_context(_folder(recipe)))
        groups = []
        if recipe.quota_cores:
            quota_us = str(round(recipe.quota_cores * PERIOD_US))
            groups.append(stack.enter_context(_group("cpu", "cpu.cfs_quota_us", quota_us)))
        if recipe.disk_bytes_per_s:
            device = os.stat(recipe.folder).st_dev
            rule = f"{os.major(device)}:{os.minor(device)} {recipe.disk_bytes_per_s}"
            groups.append(
                stack.enter_context(_group("blkio", "blkio.throttle.read_bps_device", rule))
            )
        yield replace(recipe, groups=tuple(groups))


@contextlib.contextmanager
def joined(groups: Sequence[str]) -> Iterator[None]:
    """This process, and what it forks meanwhile, is in the groups."""
    for group in groups:
        Path(group, "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        for group in groups:
            Path(group).parent.joinpath("cgroup.procs").write_text(str(os.getpid()))


def inside(groups: Sequence[str], command: Sequence[str]) -> list[str]:
    """The command, started within the groups."""
    if not groups:
        return list(command)
    join = "".join(f"echo $$ > {group}/cgroup.procs && " for group in groups)
    return ["sh", "-c", f'{join}exec "$@"', "sh", *command]


@contextlib.contextmanager
def _folder(recipe: Recipe) -> Iterator[str]:
    # Not /tmp, which is often in memory.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        for number in range(int(recipe.sizes["files"])):
            Path(folder, f"{number:03d}").write_bytes(os.urandom(int(recipe.sizes["file_bytes"])))
        os.sync()
        yield folder


@contextlib.contextmanager
def _group(controller: str, limit: str, value: str) -> Iterator[str]:
    parent = GROUPS / controller
    group = parent / f"wellfed-accuracy-{os.getpid()}"
    group.mkdir()
    try:
        (group / limit).write_text(value)
        yield str(group)
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (parent / "cgroup.procs").write_text(pid)
        group.rmdir()
