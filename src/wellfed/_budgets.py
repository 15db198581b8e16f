"""Seconds that measurements may take where the caller does not say."""

__all__ = ["DEEP_S", "TUNE_S"]

# Of this, five rounds of the ladder and four other experiments take 50 s at a period of 100 ms.
DEEP_S = 60.0
"""For all experiments together."""

TUNE_S = 60.0
"""For all trials together."""
