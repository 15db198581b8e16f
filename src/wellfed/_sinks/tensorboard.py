"""Curves in TensorBoard, beside those of the training."""

from importlib.util import find_spec
from typing import Any

from wellfed._sinks.scalars import label, scalars
from wellfed.errors import MissingExtra
from wellfed.records import LoaderStatus, Report

__all__ = ["TensorBoard"]


class TensorBoard:
    """Writes an event file into a folder. Implements `seams.Sink`."""

    def __init__(self, folder: str) -> None:
        """Nothing is opened before the first point: torch may not be loaded yet, and must not be.

        Raises:
            MissingExtra: TensorBoard is not installed.
        """
        if find_spec("tensorboard") is None:
            raise MissingExtra(
                "exporting to TensorBoard needs the package tensorboard, which is not installed: "
                "pip install 'wellfed[tensorboard]'"
            )
        self._folder = folder
        self._opened: Any = None

    def emit(self, seen: LoaderStatus | Report) -> None:
        """Add a point to each curve, over batches; at the end the verdict as text."""
        if isinstance(seen, Report):
            self._writer().add_text(
                "wellfed/verdict",
                f"**{seen.verdict.name}**: {seen.verdict.abstains or seen.verdict.headline}",
                walltime=seen.created_unix_s,
            )
            return
        for name, value in scalars(seen).items():
            self._writer().add_scalar(
                f"wellfed/{name}/{label(seen)}",
                value,
                global_step=seen.batches,
                walltime=seen.at_unix_s,
            )

    def close(self) -> None:
        """Write what is left, and close."""
        if self._opened is not None:
            self._opened.close()

    def _writer(self) -> Any:
        if self._opened is None:
            from torch.utils.tensorboard import SummaryWriter

            self._opened = SummaryWriter(log_dir=self._folder)
        return self._opened
