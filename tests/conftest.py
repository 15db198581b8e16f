"""What holds for every test: no unseen skip, no process left behind, repeatable examples."""

import gc
import multiprocessing
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

import hypothesis
import psutil
import pytest

NO_GPU = "no accelerator on this machine"
NO_CGROUP = "no control group can be made here"
NO_MEMORY_CGROUP = "no control group that limits memory can be made here"
NO_MOUNTS = "no file system can be mounted here"
GRACE_S = 2.0  # an exiting worker may still be on its way out when the test returns

hypothesis.settings.register_profile(
    "wellfed", deadline=None, derandomize=bool(os.environ.get("CI"))
)
hypothesis.settings.load_profile("wellfed")

# -- skips: each one is listed with its reason, or it fails the session


def allowed_skips(path: Path) -> set[tuple[str, str]]:
    """Pairs of marker and reason."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    pairs = [line.split(": ", 1) for line in lines if line and not line.startswith("#")]
    return {(marker, reason) for marker, reason in pairs}


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return said.removeprefix("Skipped: ")


class SkipGuard:
    """Fails the session if a test was skipped for a reason that is not on the list."""

    def __init__(self, allowed: set[tuple[str, str]]) -> None:
        self.allowed = allowed
        self.unlisted: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = reason_of(report)
        if not any((marker, reason) in self.allowed for marker in report.keywords):
            self.unlisted.append(f"{report.nodeid}: {reason}")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.unlisted.append(f"{report.nodeid}: {reason_of(report)}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unlisted and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.unlisted:
            return
        terminalreporter.section("skips that are not in tests/allowed_skips.txt", red=True)
        for line in self.unlisted:
            terminalreporter.write_line(line)


def pytest_configure(config: pytest.Config) -> None:
    listed = allowed_skips(Path(__file__).with_name("allowed_skips.txt"))
    config.pluginmanager.register(SkipGuard(listed), "skip-guard")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not accelerator():
        pytest.skip(NO_GPU)
    if item.get_closest_marker("cgroup") and not can_make_cgroup():
        pytest.skip(NO_CGROUP)
    if item.get_closest_marker("memory_cgroup") and not can_make_cgroup("memory", MEMORY_FILES):
        pytest.skip(NO_MEMORY_CGROUP)
    if item.get_closest_marker("mounts") and not can_mount():
        pytest.skip(NO_MOUNTS)


def accelerator() -> bool:
    import torch

    return torch.accelerator.is_available()


CPU_FILES = ("cpu.max", "cpu.cfs_quota_us")
MEMORY_FILES = ("memory.max", "memory.limit_in_bytes")


def can_make_cgroup(controller: str = "cpu", limits: tuple[str, ...] = CPU_FILES) -> bool:
    """Whether a child of our own control group can be made that limits CPU time, or another."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if number != "0" and controller not in controllers.split(","):
            continue
        parent = Path("/sys/fs/cgroup", "" if number == "0" else controllers, path.lstrip("/"))
        child = parent / f"wellfed-test-{os.getpid()}"
        try:
            child.mkdir()
        except OSError:
            continue
        try:
            if any((child / name).exists() for name in limits):
                return True
        finally:
            child.rmdir()
    return False


def can_mount() -> bool:
    """Whether a child may see another file system than we do."""
    mount = ["unshare", "--mount", "mount", "-t", "tmpfs", "-o", "size=64k", "none", "/dev/shm"]
    try:
        return subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


# -- processes: a test ends the ones it starts


def children() -> set[int]:
    """Our running child processes, less the two that Python itself keeps for good."""
    multiprocessing.active_children()  # reaps those that have ended
    try:
        texts = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
        pids = {int(pid) for text in texts for pid in text.split()}
    except OSError:
        pids = {child.pid for child in psutil.Process().children()}
    return {pid for pid in pids if lives(pid)} if pids else pids


def lives(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        kept = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
        return process.status() != psutil.STATUS_ZOMBIE and not any(
            name in word for name in kept for word in process.cmdline()
        )
    except psutil.Error:
        return False


@pytest.fixture(autouse=True)
def no_process_left_behind() -> Iterator[None]:
    """Fails a test that leaves a child process running."""
    before = children()
    yield
    deadline = time.monotonic() + GRACE_S
    while (left := children() - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    if left:
        pytest.fail(f"child processes left behind: {sorted(left)}")


def held() -> dict[str, set[str]]:
    """What this process has taken: descriptors, threads, mapped slabs, named shared memory."""
    gc.collect()
    maps = Path("/proc/self/maps").read_text().splitlines()
    return {
        "descriptors": set(os.listdir("/proc/self/fd")),
        "threads": {thread.name for thread in threading.enumerate()},
        "mappings": {line for line in maps if "wellfed" in line},
        "shared memory": {name for name in _in_shm() if name.startswith(("wellfed", "torch_"))},
        "processes": {str(pid) for pid in grandchildren()},
    }


def _in_shm() -> list[str]:
    return os.listdir("/dev/shm") if os.path.isdir("/dev/shm") else []


@pytest.fixture
def nothing_left_behind() -> Iterator[None]:
    """Fails a test that leaves anything behind."""
    # These are for good, and so are their pipes: what is made at first use counts for no test.
    resource_tracker.ensure_running()
    forkserver.ensure_running()
    before = held()
    yield
    deadline = time.monotonic() + GRACE_S
    while left := _left(before):
        if time.monotonic() > deadline:
            pytest.fail(f"left behind: {left}")
        time.sleep(0.01)


def _left(before: dict[str, set[str]]) -> dict[str, set[str]]:
    new = {what: found - before[what] for what, found in held().items()}
    # Listing the descriptors takes one itself, whose number may differ.
    if len(held()["descriptors"]) <= len(before["descriptors"]):
        del new["descriptors"]
    return {what: found for what, found in new.items() if found}


@pytest.fixture(autouse=True)
def _engines_leave_nothing(request: pytest.FixtureRequest, no_process_left_behind: None) -> None:
    # After the other one, and so looked at before it: this one collects garbage first.
    if request.path.name.startswith("test_engine_"):
        request.getfixturevalue("nothing_left_behind")


def grandchildren() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True) if lives(child.pid)}
