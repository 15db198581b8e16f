"""Each exporter sends the same curves, and the verdict at the end, to where it was told."""

import importlib.util
import json
import socket
import sys
import types
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from recorded import recorded
from statuses import NOW_UNIX_S, loader_status
from wellfed._sinks.naming import WAYS, sinks_of
from wellfed._sinks.prometheus import Prometheus
from wellfed._sinks.scalars import label, scalars
from wellfed.errors import MissingExtra, UsageError
from wellfed.seams import Sink

REPORT = recorded("all_cores_compute")


def one(words: str) -> Sink:
    (sink,) = sinks_of([words])
    return sink


def send(sink: Sink) -> None:
    """Two windows, a report, and the end."""
    sink.emit(loader_status())
    sink.emit(loader_status(batches=550, wait_share=0.5, samples_per_s=None))
    sink.emit(REPORT)
    sink.close()


# -- names


@pytest.mark.parametrize("words", ["csv:x", "", "jsonl", "jsonl:", "tensorboard", "prometheus"])
def test_words_that_name_no_sink_are_refused_with_those_that_do(words: str) -> None:
    with pytest.raises(UsageError, match=r"Give one of|Write "):
        sinks_of([words])


@pytest.mark.parametrize("words", ["prometheus:x", "prometheus:-1", "prometheus:70000"])
def test_a_port_that_is_none_is_refused(words: str) -> None:
    with pytest.raises(UsageError, match="is no port"):
        sinks_of([words])


def test_a_sink_of_ones_own_is_taken_as_it_is() -> None:
    class Own:
        def emit(self, seen: object) -> None: ...

        def close(self) -> None: ...

    own = Own()

    assert sinks_of([own]) == [own]


def test_those_that_are_open_are_closed_where_the_next_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        sinks_of([f"jsonl:{tmp_path / 'run.jsonl'}", "csv:x"])

    # A file that is still open would be a ResourceWarning, and those are errors here.


@pytest.mark.parametrize(
    ("package", "words", "extra"),
    [
        ("tensorboard", "tensorboard:runs", "wellfed[tensorboard]"),
        ("prometheus_client", "prometheus:0", "wellfed[prometheus]"),
        ("wandb", "wandb", "wellfed[wandb]"),
    ],
)
def test_a_package_that_is_missing_is_named_with_what_to_type(
    package: str, words: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    find = importlib.util.find_spec
    for module in ("tensorboard", "wandb"):
        monkeypatch.setattr(
            f"wellfed._sinks.{module}.find_spec",
            lambda name: None if name == package else find(name),
        )

    with pytest.raises(MissingExtra) as caught:
        sinks_of([words])

    assert f"pip install '{extra}'" in str(caught.value)


def test_every_way_has_its_sink() -> None:
    assert [way.partition(":")[0].partition("[")[0] for way in WAYS] == [
        "jsonl",
        "tensorboard",
        "prometheus",
        "wandb",
    ]


# -- curves


def test_curves_leave_out_what_is_not_known() -> None:
    values = scalars(loader_status(samples_per_s=None, ready_share=None))

    assert values == {"wait_share": 0.69, "wait_s": 0.038, "step_s": 0.017, "batches_per_s": 18.2}


def test_a_loader_is_told_by_its_line_or_its_dataset() -> None:
    assert label(loader_status()) == "train.py:41"
    assert label(loader_status(site="")) == "ImageFolder"


# -- JSON lines


def test_json_lines_are_appended_one_object_each(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"kind": "before"}\n')
    send(one(f"jsonl:{path}"))

    before, first, second, verdict = [json.loads(line) for line in path.read_text().splitlines()]

    assert before["kind"] == "before"
    assert (first["kind"], first["wait_share"], first["at_unix_s"]) == ("window", 0.69, NOW_UNIX_S)
    assert first["worker_status"][0]["fetch_s"] == 0.108
    assert second["batches"] == 550
    assert (verdict["kind"], verdict["name"]) == ("verdict", "cpu_saturated")
    assert verdict["stats"]["batches"] > 0


def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        one(f"jsonl:{tmp_path / 'none' / 'run.jsonl'}")


# -- TensorBoard


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_shows_curves_over_batches_and_the_verdict(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    send(one(f"tensorboard:{tmp_path}"))
    written = EventAccumulator(str(tmp_path))
    written.Reload()

    points = written.Scalars("wellfed/wait_share/train.py:41")
    assert [(point.step, round(point.value, 2)) for point in points] == [(513, 0.69), (550, 0.5)]
    assert points[0].wall_time == NOW_UNIX_S
    assert len(written.Scalars("wellfed/samples_per_s/train.py:41")) == 1
    (text,) = written.Tensors("wellfed/verdict/text_summary")
    assert b"cpu_saturated" in text.tensor_proto.string_val[0]


# -- Prometheus


def scraped(sink: Prometheus) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{sink.port}/metrics", timeout=10) as answer:
        return str(answer.read(), "utf-8")


@pytest.mark.usefixtures("nothing_left_behind")
def test_prometheus_scrapes_the_newest_values_from_this_machine() -> None:
    sink = Prometheus(0)
    sink.emit(loader_status())
    sink.emit(loader_status(batches=550, wait_share=0.5))
    sink.emit(REPORT)
    text = scraped(sink)
    sink.close()

    assert 'wellfed_wait_share{loader="train.py:41"} 0.5\n' in text
    assert 'wellfed_batches{loader="train.py:41"} 550.0\n' in text
    assert 'name="cpu_saturated"' in text
    assert "python_info" not in text  # the user's registry is the user's


def test_prometheus_listens_on_loopback_unless_told_otherwise() -> None:
    sink = Prometheus(0)
    address = sink._server.server_address[0]
    sink.close()

    assert address == "127.0.0.1"


def test_a_port_that_is_taken_is_refused_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(UsageError, match="Give another port"):
            one(f"prometheus:{port}")


# -- W&B: a stand-in; tests/e2e/test_export.py has the package itself


class Run:
    def __init__(self) -> None:
        self.logged: list[tuple[dict[str, Any], bool]] = []
        self.summary: dict[str, Any] = {}
        self.finished = False

    def log(self, data: dict[str, Any], commit: bool) -> None:
        self.logged.append((data, commit))

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Any:
    package: Any = types.ModuleType("wandb")
    package.__spec__ = importlib.util.spec_from_loader("wandb", None)
    package.run = None
    package.begun = []

    def init(project: str | None) -> Run:
        run = Run()
        package.begun.append((project, run))
        return run

    package.init = init
    monkeypatch.setitem(sys.modules, "wandb", package)
    return package


def test_wandb_adds_to_the_scripts_own_run_without_taking_a_step(wandb: Any) -> None:
    wandb.run = Run()
    send(one("wandb"))

    assert [commit for _, commit in wandb.run.logged] == [False, False]
    assert wandb.run.logged[0][0]["wellfed/wait_share/train.py:41"] == 0.69
    assert wandb.run.summary["wellfed/verdict"] == "cpu_saturated"
    assert (wandb.begun, wandb.run.finished) == ([], False)


def test_wandb_begins_a_run_where_the_script_has_none_and_finishes_it(wandb: Any) -> None:
    send(one("wandb:trees"))

    ((project, run),) = wandb.begun
    assert project == "trees"
    assert [commit for _, commit in run.logged] == [True, True]
    assert run.finished
