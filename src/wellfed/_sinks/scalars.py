"""What of a loader's status is a curve: names and values, the same for every exporter."""

from wellfed.records import LoaderStatus

__all__ = ["label", "scalars"]

CURVES = (
    "wait_share",
    "wait_s",
    "step_s",
    "ready_share",
    "batches_per_s",
    "samples_per_s",
)


def scalars(status: LoaderStatus) -> dict[str, float]:
    """The curves' values, without those that are not known."""
    values = {name: getattr(status, name) for name in CURVES}
    return {name: value for name, value in values.items() if value is not None}


def label(status: LoaderStatus) -> str:
    """What tells this loader from others in a list of curves: "train.py:41"."""
    return status.site.rpartition("/")[2] or status.dataset.rpartition(".")[2]
