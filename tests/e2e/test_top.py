"""`wellfed top` sees a training of the same user, in a real terminal and without one."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import SCRIPTS, environment

PATIENCE_S = 60.0
TOP = [sys.executable, "-m", "wellfed", "top"]

WHOLE, BACK = "\x1b[?1049h", "\x1b[?1049l"


@pytest.fixture
def runtime(tmp_path: Path) -> dict[str, str]:
    """An environment in which nobody else's trainings are seen."""
    tmp_path.chmod(0o700)
    return {**environment(), "XDG_RUNTIME_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}


@pytest.fixture
def trainer(runtime: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A script that trains; its loader can be seen."""
    command = [sys.executable, str(SCRIPTS / "shown.py")]
    with subprocess.Popen(command, env=runtime, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "shown\n"
        yield running
        running.kill()


class Terminal:
    """A command on a terminal of 80 columns, and all that it wrote there."""

    def __init__(self, command: list[str], env: dict[str, str], lines: int = 30) -> None:
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.execvpe(command[0], command, {**env, "TERM": "xterm"})
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 80, 0, 0))
        self.text = ""
        self.code: int | None = None

    def until(self, pattern: str) -> str:
        """Read until this is there, and give what was read since the last time."""
        deadline = time.monotonic() + PATIENCE_S
        begin = len(self.text)
        while not re.search(pattern, self.text[begin:]):
            assert self._read(deadline), f"no {pattern!r}, but {self.text[begin:][-400:]!r}"
        return self.text[begin:]

    def type(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def end(self) -> str:
        """Read to the end, wait for it, and give all it wrote."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read(deadline):
            pass
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.text

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
        try:
            data = os.read(self.fd, 65_536) if ready else b""
        except OSError:  # the other end has closed
            return False
        self.text += data.decode(errors="replace")
        return bool(data)

    def close(self) -> None:
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@contextlib.contextmanager
def terminal(command: list[str], env: dict[str, str], lines: int = 30) -> Iterator[Terminal]:
    one = Terminal(command, env, lines)
    try:
        yield one
    finally:
        one.close()


def once(env: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [*TOP, *words], env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert done.stderr == ""
    return done.stdout


def test_without_a_terminal_it_prints_one_panel(
    trainer: subprocess.Popen[str], runtime: dict[str, str]
) -> None:
    text = once(runtime)

    assert f"trainer    pid {trainer.pid} ·" in text
    assert re.search(r"shown\.py:\d+$", text, re.MULTILINE)
    assert re.search(r"speed +[\d,]+ samples/s · [\d,]+ batches/s\n", text)
    assert re.search(r"memory .* of \d", text)
    assert re.search(r"\n     0 .*\n     1 ", text)
    assert "\x1b" not in text
    assert trainer.poll() is None


def test_another_pid_shows_nothing(trainer: subprocess.Popen[str], runtime: dict[str, str]) -> None:
    assert "No loader of yours runs here" in once(runtime, "1")


def test_what_a_killed_trainer_left_is_not_shown_and_is_removed(
    trainer: subprocess.Popen[str], runtime: dict[str, str]
) -> None:
    folder = Path(runtime["XDG_RUNTIME_DIR"]) / "wellfed"
    assert len(list(folder.iterdir())) == 1
    trainer.kill()
    trainer.wait(PATIENCE_S)
    text = once(runtime)

    assert re.search(r"ended +after [\d,]+ batches of ", text)
    assert list(folder.iterdir()) == []


def test_in_a_terminal_it_goes_on_until_q_and_leaves_the_screen_as_it_was(
    trainer: subprocess.Popen[str], runtime: dict[str, str]
) -> None:
    with terminal(TOP, runtime) as screen:
        first = screen.until(r"cores.* busy")
        screen.until(f"pid {trainer.pid}")
        trainer.kill()
        trainer.wait(PATIENCE_S)
        screen.until("ended")
        screen.type("q")
        whole = screen.end()

    assert screen.code == 0
    assert first.startswith(WHOLE)
    assert whole.endswith(BACK)
    # Nothing is cleared between two panels, which would flicker.
    assert "\x1b[2J" not in whole


def test_the_panel_of_a_diagnosis_leaves_the_scripts_lines_alone(runtime: dict[str, str]) -> None:
    script = str(SCRIPTS / "shown.py")
    command = [sys.executable, "-m", "wellfed", "diagnose", "--live", "--seconds", "4", script]
    with terminal(command, runtime, lines=40) as screen:
        screen.until(r"\x1b\[1;\d+r")  # the upper lines scroll alone
        screen.until(r"worker")
        whole = screen.end()

    drawn, _, card = whole.rpartition("\x1b[r")
    assert screen.code in (0, 3)
    assert "shown\r\n" in drawn
    assert "VERDICT" in card
    assert "wellfed top" not in card


def test_without_a_terminal_live_draws_nothing(runtime: dict[str, str]) -> None:
    script = str(SCRIPTS / "shown.py")
    done = subprocess.run(
        [sys.executable, "-m", "wellfed", "diagnose", "--live", "--steps", "60", script],
        env=runtime,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert done.returncode in (0, 3), done
    assert "wellfed top" not in done.stdout + done.stderr
