"""Whether enough has been seen to judge: a pure question about the statistics so far."""

from wellfed.records import StageStats

__all__ = ["enough"]

# Forty steady batches, whatever the interval says: with fewer, one slow batch in twenty may not
# have shown itself yet.
BATCHES = 40
# The step is known within 4 %, and the share that waits within 3 points: then predictions of gain
# are limited by the model, not by the measurement.
PERIOD_SPREAD = 0.04
WAIT_POINTS = 0.03
# Epochs shorter than this are watched until two of them were whole, so that what happens between
# epochs is seen.
SHORT_EPOCH_S = 10.0


def enough(stats: StageStats) -> bool:
    """Whether more of the same would not change the judgement."""
    if stats.batches < BATCHES:
        return False
    if stats.epoch_s is not None and stats.epoch_s < SHORT_EPOCH_S and stats.epochs < 2:
        return False
    waits = stats.wait_share
    return stats.period_s.spread <= PERIOD_SPREAD and (waits.high - waits.low) / 2 <= WAIT_POINTS
