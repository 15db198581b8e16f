"""What makes samples dear, where it can be told: the line, the library, the bytes thrown away."""

from collections.abc import Mapping
from types import MappingProxyType

from wellfed._insight.hot import hottest
from wellfed._insight.rules.say import of_gain, samples_s
from wellfed._insight.supply import stage_s
from wellfed.records import Case, Evidence, Remedy
from wellfed.records.amounts import duration, share, size

__all__ = ["cheaper_samples", "sample_evidence"]

# A function that takes less than a third of the fetches is not the place to begin.
DOMINANT = 0.33

# Reading four times the bytes that are returned leaves room even for what formats add.
THROWN_AWAY = 4.0

_ONCE = "do once what does not change, and store the result"
_DECODING = "Image.draft() or a smaller stored size, simplejpeg, or decode on the device"
_ROWS = "columns as NumPy arrays, taken once in __init__: row access by label builds a Series"
_CHUNKS = "chunks of one sample each, or samples shuffled chunk by chunk"
_INSTEAD: Mapping[str, str] = MappingProxyType(
    {
        "PIL": _DECODING,
        "cv2": _DECODING,
        "imageio": _DECODING,
        "skimage": _DECODING,
        "torchvision": _DECODING,
        "pandas": _ROWS,
        "polars": _ROWS,
        "h5py": _CHUNKS,
        "zarr": _CHUNKS,
        "numcodecs": _CHUNKS,
        "pyarrow": _CHUNKS,
        "datasets": "flatten_indices() after a shuffle or select, and with_format('torch')",
    }
)


def sample_evidence(case: Case) -> tuple[Evidence, ...]:
    """The hottest function, and how much is read for what is returned."""
    told = []
    hot = hottest(case)
    if hot is not None and hot.share >= DOMINANT:
        inside = f", inside {hot.library}" if hot.library else ""
        text = f"{share(hot.share)} of {_time(case)} in {hot.function}() at {hot.place}{inside}"
        told.append(Evidence(text=text, value=hot.share))
    read, returned = case.stats.read_chars_per_batch, case.stats.payload_bytes
    if read and returned and read >= THROWN_AWAY * returned:
        text = f"reads {size(read)} for each {size(returned)} batch"
        told.append(Evidence(text=text, value=read / returned))
    return tuple(told)


def cheaper_samples(case: Case) -> Remedy:
    """Make the samples cheaper: at the line where their time goes, if it is known."""
    hot, sample_s = hottest(case), case.stats.sample_s
    if hot is None or hot.share < DOMINANT:
        cost = f" (now {duration(sample_s)} each)" if sample_s is not None else ""
        return Remedy(
            change=f"make samples cheaper: {_ONCE}",
            why=f"CPU time per sample{cost} sets the limit once every core is busy",
        )
    instead = _INSTEAD.get(hot.library, _ONCE)
    spent_s = (samples_s(case) or stage_s(case, "fetch")) * hot.share
    return Remedy(
        change=f"{hot.place}: make {hot.function}() cheaper: {instead}",
        why=f"{share(hot.share)} of {_time(case)} is there; the gain is that of halving it",
        gain=of_gain(case, spent_s / 2 / max(1, case.plan.workers)),
        reproducibility="other values, if what a sample holds changes",
    )


def _time(case: Case) -> str:
    """Whose time samples take."""
    return "worker time" if case.plan.workers else "loading time"
