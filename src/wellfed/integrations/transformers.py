"""Watches the loaders of a Hugging Face Trainer.

trainer = Trainer(..., callbacks=[WellfedCallback(report="run.json.gz")])
"""

import logging
from collections.abc import Sequence
from typing import Any

import wellfed
from wellfed.errors import MissingExtra
from wellfed.integrations._watching import Watching
from wellfed.records import Report
from wellfed.seams import Sink

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise MissingExtra(
        "wellfed.integrations.transformers needs Transformers, which is not installed: "
        "pip install transformers"
    ) from error

__all__ = ["WellfedCallback"]


class WellfedCallback(TrainerCallback):  # type: ignore[misc]
    """Logs what share of the time training waits for data, and says at the end why.

    Each entry of the Trainer's log gets `wellfed/wait_share`, and `wellfed/samples_per_s` where the
    batch size is known. Reporting callbacks that come before this one have had the entry by then:
    use `export` to send figures to TensorBoard or W&B. The training is never stopped.

    Args:
        report: file to save the report to, at the end; None for none.
        export: as in `wellfed.observe`.
    """

    def __init__(self, report: str | None = None, *, export: Sequence[str | Sink] = ()) -> None:
        self.report: Report | None = None
        """What was seen, once training has ended; None if no loader gave a batch."""
        self._file = report
        self._export = export
        self._watching = Watching()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin to watch."""
        self._watching.begin(self._export if state.is_world_process_zero else ())

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Add how the loader does."""
        ours = self._watching.figures()
        if logs is not None:
            logs.update(ours)
        if state.log_history:
            state.log_history[-1].update(ours)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Say what was seen, and save it."""
        report = self._watching.end(logging.getLogger(__name__).warning)
        if report is None:
            return
        self.report = report
        if state.is_world_process_zero:
            print(wellfed.render(report), end="")  # noqa: T201 - where the Trainer prints
            if self._file is not None:
                report.save(self._file)
