"""Watches the loaders of a Lightning Trainer.

trainer = Trainer(callbacks=[WellfedCallback(report="run.json.gz")])
"""

from collections.abc import Sequence
from typing import Any

import wellfed
from wellfed.errors import MissingExtra
from wellfed.integrations._watching import Watching
from wellfed.records import Report
from wellfed.seams import Sink

try:
    from lightning.pytorch.callbacks import Callback
    from lightning.pytorch.utilities import rank_zero_info
except ImportError:
    try:
        from pytorch_lightning.callbacks import Callback
        from pytorch_lightning.utilities import rank_zero_info
    except ImportError as error:
        raise MissingExtra(
            "wellfed.integrations.lightning needs Lightning, which is not installed: "
            "pip install lightning"
        ) from error

__all__ = ["WellfedCallback"]


class WellfedCallback(Callback):  # type: ignore[misc]
    """Logs what share of the time training waits for data, and says at the end why.

    Logged is `wellfed/wait_share`, and `wellfed/samples_per_s` where the batch size is known. The
    training is watched from the beginning of `fit` to its end, and never stopped.

    Args:
        report: file to save the report to, at the end; None for none.
        every: log once so many batches.
        export: as in `wellfed.observe`.
    """

    def __init__(
        self,
        report: str | None = None,
        *,
        every: int = 50,
        export: Sequence[str | Sink] = (),
    ) -> None:
        self.report: Report | None = None
        """What was seen, once `fit` has ended; None if no loader gave a batch."""
        self._file = report
        self._every = every
        self._export = export
        self._watching = Watching()

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to watch."""
        self._watching.begin(self._export if trainer.is_global_zero else ())

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log how the loader does."""
        if (batch_idx + 1) % self._every:
            return
        for name, value in self._watching.figures().items():
            pl_module.log(name, value)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Say what was seen, and save it."""
        self._finish()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """The same where training ended early."""
        self._finish()

    def _finish(self) -> None:
        report = self._watching.end(lambda why: rank_zero_info(f"wellfed: {why}"))
        if report is None:
            return
        self.report = report
        rank_zero_info(wellfed.render(report))
        if self._file is not None and not report.trace.rank:
            report.save(self._file)
