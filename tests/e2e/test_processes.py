"""Workers, children and ranks are seen, whoever starts them and in whatever way."""

import multiprocessing
import socket
import sys
from pathlib import Path

import pytest
from runs import SCRIPTS, Ran, command_of, diagnose, heard, line_marked, run


def check_ranks(ours: Ran, folder: Path) -> None:
    """Both ranks had the same batches, none failed, and one of them was judged."""
    assert ours.code == 0, ours
    delivered = [int((folder / f"delivered-{rank}").read_text()) for rank in (0, 1)]
    assert delivered[0] == delivered[1] >= 250
    assert "Traceback" not in ours.said
    assert ours.out.count("VERDICT") == 1
    trace = ours.report.trace
    assert str(trace.site) == line_marked(SCRIPTS / "ddp.py")
    assert len(trace.spans) == heard(trace.spans) == delivered[0]
    assert trace.world == trace.local_world == 2
    assert [one.rank for one in trace.ranks] == [0, 1]
    assert trace.ended_because == "stopped"
    assert trace.failures == ()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def test_ranks_that_torchrun_starts_stop_after_the_same_batch(tmp_path: Path) -> None:
    command = command_of(tmp_path, "--steps", "250", str(SCRIPTS / "ddp.py"), str(tmp_path))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc-per-node", "2", *command[1:]]

    ours = run(launcher, tmp_path, tmp_path / "report.json")

    check_ranks(ours, tmp_path)
    assert ours.report.trace.rank == 0


def test_one_report_names_the_rank_that_the_others_wait_for(tmp_path: Path) -> None:
    command = command_of(tmp_path, "--steps", "100", str(SCRIPTS / "late_rank.py"))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc-per-node", "2", *command[1:]]

    ours = run(launcher, tmp_path, tmp_path / "report.json")

    assert ours.code == 0, ours
    assert ours.out.count("VERDICT") == 1
    fast, late = ours.report.trace.ranks
    assert (fast.rank, late.rank) == (0, 1)
    assert late.wait_s > 0.02 > fast.wait_s
    assert "rank_straggler" in {finding.name for finding in ours.report.verdict.findings}


def test_ranks_that_the_script_spawns_stop_after_the_same_batch(tmp_path: Path) -> None:
    script = str(SCRIPTS / "ddp.py")

    ours = diagnose(tmp_path, "--steps", "250", script, str(tmp_path), str(free_port()))

    check_ranks(ours, tmp_path)
    assert "all ranks ended\n" in ours.out


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_child_that_trains_is_watched_and_never_stopped(tmp_path: Path, method: str) -> None:
    script = SCRIPTS / "children.py"

    ours = diagnose(tmp_path, "--steps", "30", str(script), method)

    assert ours.code in (0, 3)
    assert ours.said == ""
    assert ours.out.startswith("cleaned up\nended with 0\n")
    trace = ours.report.trace
    assert str(trace.site) == line_marked(script)
    assert len(trace.spans) == heard(trace.spans) == 320
    assert trace.ended_because == "finished"
    assert 0 < trace.epochs[0].iter_ns < trace.spans[-1].got_ns < trace.ended_ns


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_workers_are_heard_however_they_start(tmp_path: Path, method: str) -> None:
    script = SCRIPTS / "methods.py"

    ours = diagnose(tmp_path, str(script), method)

    assert ours.said == ""
    assert ours.out.startswith("whole\n")
    trace = ours.report.trace
    assert str(trace.site) == line_marked(script)
    assert trace.plan.start_method == method
    assert len(trace.spans) == heard(trace.spans) == 24
    assert len(trace.epochs[0].worker_begin_ns) == 2
