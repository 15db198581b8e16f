"""Watches the loaders of a Hugging Face Trainer.

trainer = Trainer(..., callbacks=[WellfedCallback(report="run.json.gz")])
"""

import logging
from collections.abc import Sequence
from typing import Any

import wellfed
from wellfed.errors import MissingExtra, NoVerdict
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
        self._seen: wellfed.Observation | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin to watch."""
        self._leave()
        self._seen = wellfed.observe(export=self._export if state.is_world_process_zero else ())
        self._seen.__enter__()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Add how the loader does."""
        status = self._seen.status if self._seen is not None else None
        if status is None:
            return
        ours = {"wellfed/wait_share": status.wait_share}
        if status.samples_per_s is not None:
            ours["wellfed/samples_per_s"] = status.samples_per_s
        if logs is not None:
            logs.update(ours)
        if state.log_history:
            state.log_history[-1].update(ours)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Say what was seen, and save it."""
        seen = self._seen
        if seen is None:
            return
        self._leave()
        try:
            self.report = seen.diagnose()
        except NoVerdict as why:
            logging.getLogger(__name__).warning("no verdict: %s", why)
            return
        if state.is_world_process_zero:
            print(wellfed.render(self.report), end="")  # noqa: T201 - where the Trainer prints
            if self._file is not None:
                self.report.save(self._file)

    def _leave(self) -> None:
        seen, self._seen = self._seen, None
        if seen is not None:
            seen.__exit__(None, None, None)
