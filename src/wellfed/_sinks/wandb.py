"""Curves in Weights & Biases, in the run that is active."""

from importlib.util import find_spec
from typing import Any

from wellfed._sinks.scalars import label, scalars
from wellfed.errors import MissingExtra
from wellfed.records import LoaderStatus, Report

__all__ = ["WeightsAndBiases"]


class WeightsAndBiases:
    """Logs into the script's own run, or into one of its own. Implements `seams.Sink`.

    In the script's run no step is taken: values wait for the script's next `log`, so its count of
    steps is what it is without us.
    """

    def __init__(self, project: str = "") -> None:
        """Nothing is begun before the first value: the script may begin its own run until then.

        Args:
            project: where a run of our own is put; "" for the usual place.

        Raises:
            MissingExtra: wandb is not installed.
        """
        if find_spec("wandb") is None:
            raise MissingExtra(
                "exporting to Weights & Biases needs the package wandb, which is not installed: "
                "pip install 'wellfed[wandb]'"
            )
        self._project = project
        self._own: Any = None

    def emit(self, seen: LoaderStatus | Report) -> None:
        """Log the curves; at the end the verdict, in the run's summary."""
        run = self._run()
        if isinstance(seen, Report):
            run.summary["wellfed/verdict"] = seen.verdict.name
            run.summary["wellfed/headline"] = seen.verdict.abstains or seen.verdict.headline
            return
        values = {f"wellfed/{name}/{label(seen)}": one for name, one in scalars(seen).items()}
        run.log(values, commit=run is self._own)

    def close(self) -> None:
        """Finish the run, if it is our own."""
        if self._own is not None:
            self._own.finish()
            self._own = None

    def _run(self) -> Any:
        import wandb

        if self._own is None and wandb.run is not None:
            return wandb.run
        if self._own is None:
            self._own = wandb.init(project=self._project or None)
        return self._own
