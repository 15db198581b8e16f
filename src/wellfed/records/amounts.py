"""Numbers as people say them: "148 ms", "1.9 s", "1.1 GB", "+47 %", "2.1x".

A number and its unit are joined by one plain space; `sheet` never breaks a line there.
"""

from math import floor, isfinite, log10

from wellfed.records import Estimate

__all__ = ["change", "duration", "gain", "gain_between", "parts", "share", "size"]

_DURATIONS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))

# Up to half as fast again, people say per cent; from there on, times.
_TIMES_FROM = 1.5

# "61 s" reads better than "1.0 min": minutes and hours are used from two of them on.
_LONG_FROM = 2.0


def duration(seconds: float) -> str:
    """Seconds in the unit that fits: "310 µs", "148 ms", "1.9 s", "61 s", "12 min"."""
    if not isfinite(seconds):
        return "?"
    scale, unit = _duration_unit(abs(seconds))
    return f"{_short(seconds / scale)} {unit}"


def size(n_bytes: float) -> str:
    """Bytes in decimal units: "512 B", "340 MB", "1.1 GB"."""
    if not isfinite(n_bytes):
        return "?"
    scale, unit = next((s for s in _SIZES if abs(n_bytes) >= s[0]), _SIZES[-1])
    return f"{_short(n_bytes / scale)} {unit}"


def share(value: float) -> str:
    """A share of 1 in per cent: "68 %"; below one per cent with a decimal: "0.4 %"."""
    if not isfinite(value):
        return "?"
    percent = 100 * value
    if percent and abs(percent) < 0.95:
        return f"{percent:.1f} %" if abs(percent) >= 0.05 else "<0.1 %"
    return f"{percent:.0f} %"


def gain(ratio: float) -> str:
    """New speed over old: "+47 %" up to half as fast again, "2.1x" from there on."""
    if not isfinite(ratio):
        return "?"
    return f"{_short(ratio)}x" if ratio >= _TIMES_FROM else change(ratio)


def gain_between(ratio: Estimate) -> str:
    """The interval of a gain, in the form its value is said in: "1.9–2.3x", "+40 to +54 %"."""
    if ratio.value >= _TIMES_FROM:
        return _between(_short(ratio.low), _short(ratio.high), "–", "x")
    return _between(_percent(ratio.low), _percent(ratio.high), " to ", " %")


def change(ratio: float) -> str:
    """New speed over old in per cent, however large: "+0 %", "+110 %"."""
    return f"{_percent(ratio)} %"


def _between(low: str, high: str, to: str, unit: str) -> str:
    """From low to high; once where both read the same."""
    return f"{low}{unit}" if low == high else f"{low}{to}{high}{unit}"


def parts(whole: Estimate, part: Estimate, rest: Estimate) -> tuple[str, str, str]:
    """A duration and its two parts with their margins: "212 ± 4 ms", "148 ± 3 ms", "64 ± 1 ms".

    All three share unit and decimals, and the rest is what is left of the rounded whole: three
    correctly rounded numbers can miss their sum by one, and a sum that does not add up costs more
    trust than its last digit. A margin that rounds to nothing is not written.
    """
    scale, unit = _duration_unit(whole.value)
    digits = whole.value / scale
    decimals = max(0, 2 - floor(log10(digits))) if digits > 0 and isfinite(digits) else 0
    first = round(digits, decimals)
    second = min(first, round(part.value / scale, decimals))

    def written(value: float, estimate: Estimate) -> str:
        margin = f"{(estimate.high - estimate.low) / 2 / scale:.{decimals}f}"
        plus_minus = f" ± {margin}" if float(margin) else ""
        return f"{value:.{decimals}f}{plus_minus} {unit}"

    return written(first, whole), written(second, part), written(first - second, rest)


def _duration_unit(seconds: float) -> tuple[float, str]:
    if seconds == 0:
        return 1.0, "s"
    for scale, unit in _DURATIONS:
        if seconds >= scale * (_LONG_FROM if scale >= 60 else 1):
            return scale, unit
    return _DURATIONS[-1]


def _short(value: float) -> str:
    """Two digits below ten, whole numbers above: more is noise at our intervals."""
    if not isfinite(value):
        return "∞"
    return f"{value:.1f}" if abs(value) < 9.95 and value else f"{value:.0f}"


def _percent(ratio: float) -> str:
    if not isfinite(ratio):
        return "∞"
    return f"{round(100 * (ratio - 1)) or 0:+d}"
