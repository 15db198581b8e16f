"""How a watched script is ended; apart from `stock`, so that it can be named without torch."""

__all__ = ["StopWatching"]


class StopWatching(BaseException):
    """Ends a watched script from its next `__next__`.

    A BaseException of our own, so that `finally` and `with` blocks run, and handlers for
    Exception or KeyboardInterrupt ("save on Ctrl-C") do not.
    """
