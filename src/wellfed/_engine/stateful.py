"""Objects of the user's that say where they stand: by `state_dict` and `load_state_dict`."""

from typing import Any

__all__ = ["is_stateful", "put_back", "said_by"]

_DATASET, _ITERATOR = "dataset", "iterator"


def is_stateful(one: Any) -> bool:
    """Whether it can be asked where it stands, and be put there."""
    kind = type(one)
    return callable(getattr(kind, "state_dict", None)) and callable(
        getattr(kind, "load_state_dict", None)
    )


def said_by(dataset: Any, iterator: Any) -> dict[str, Any]:
    """What a dataset, and the iterator over it, say of where they stand; empty: nothing.

    Raises:
        Exception: the user's own.
    """
    asked = {_DATASET: dataset, _ITERATOR: iterator}
    return {name: one.state_dict() for name, one in asked.items() if is_stateful(one)}


def put_back(said: dict[str, Any], *, dataset: Any = None, iterator: Any = None) -> None:
    """Put them there: the dataset before it is asked to begin, the iterator after."""
    for name, one in ((_DATASET, dataset), (_ITERATOR, iterator)):
        if one is not None and name in said and is_stateful(one):
            one.load_state_dict(said[name])
