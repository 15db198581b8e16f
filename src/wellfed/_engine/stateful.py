"""Objects of the user's that say where they stand: by `state_dict` and `load_state_dict`."""

from typing import Any

__all__ = ["has_ended", "is_stateful", "put_back", "said_by"]

_DATASET, _ITERATOR, _ENDED = "dataset", "iterator", "ended"


def is_stateful(one: Any) -> bool:
    """Whether it can be asked where it stands, and be put there."""
    kind = type(one)
    return callable(getattr(kind, "state_dict", None)) and callable(
        getattr(kind, "load_state_dict", None)
    )


def said_by(dataset: Any, fetcher: Any) -> dict[str, Any]:
    """What a dataset, and the iterator over it, say of where they stand; empty: nothing.

    Args:
        dataset: the user's.
        fetcher: torch's; that of an iterable dataset has its iterator, and knows whether that has
            ended with the last batch, which a dataset that begins again then does not tell.

    Raises:
        Exception: the user's own.
    """
    asked = {_DATASET: dataset, _ITERATOR: getattr(fetcher, "dataset_iter", None)}
    said: dict[str, Any] = {
        name: one.state_dict() for name, one in asked.items() if is_stateful(one)
    }
    return said | {_ENDED: True} if said and getattr(fetcher, "ended", False) else said


def has_ended(said: dict[str, Any]) -> bool:
    """Whether there was no more to be had of them in that epoch."""
    return bool(said.get(_ENDED))


def put_back(said: dict[str, Any], *, dataset: Any = None, iterator: Any = None) -> None:
    """Put them there: the dataset before it is asked to begin, the iterator after."""
    for name, one in ((_DATASET, dataset), (_ITERATOR, iterator)):
        if one is not None and name in said and is_stateful(one):
            one.load_state_dict(said[name])
