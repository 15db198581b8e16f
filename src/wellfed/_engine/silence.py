"""How long nothing may come before that is worth a word. Pure."""

__all__ = ["Silence"]

# Below a minute even a fast loader may have met a slow disk; and a batch that takes twenty times as
# long as others is not one of them.
LEAST_S = 60.0
USUAL_TIMES = 20


class Silence:
    """Of the batches of one stream; it is spoken of once."""

    def __init__(self, least_s: float | None = None) -> None:
        self._least_s = LEAST_S if least_s is None else least_s
        self._batches = 0
        self._took_ns = 0
        self._since_s: float | None = None
        self._told = False

    def begin(self) -> None:
        """A batch is asked for."""
        self._since_s = None

    def took(self, fetch_ns: int) -> None:
        """Making a batch took this long."""
        self._batches += 1
        self._took_ns += fetch_ns

    def left_s(self, now_s: float) -> float | None:
        """How long to wait still before it is spoken of; None: for ever; 0: now, and only once.

        Args:
            now_s: by any clock that goes on.
        """
        if self._told:
            return None
        if self._since_s is None:
            self._since_s = now_s
        usual_s = self._took_ns / max(1, self._batches) / 1e9
        left_s = self._since_s + max(self._least_s, USUAL_TIMES * usual_s) - now_s
        self._told = left_s <= 0
        return max(0.0, left_s)
