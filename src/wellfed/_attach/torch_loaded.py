"""Calls back once torch is loaded, without loading it.

A script may set OMP_NUM_THREADS or CUDA_VISIBLE_DEVICES before its own `import torch`, and torch
reads some of them only then; so wellfed must not import torch before the script does.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

__all__ = ["when_torch_is_loaded"]


def when_torch_is_loaded(callback: Callable[[], None]) -> Callable[[], None]:
    """Call `callback` now if torch is loaded, else right after its import.

    Returns:
        A function that forgets the callback; harmless when called late or twice.
    """
    if "torch" in sys.modules:
        callback()
        return lambda: None
    finder = _Finder(callback)
    sys.meta_path.insert(0, finder)
    return finder.forget


class _Finder(importlib.abc.MetaPathFinder):
    """Finds torch as the others would, and adds the callback to its loading."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback

    def forget(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the import system's signature
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "torch":
            return None
        self.forget()
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_call(module: ModuleType) -> None:
                load(module)
                self._callback()

            spec.loader.exec_module = load_and_call  # type: ignore[method-assign]
        return spec
