"""One JSON object a line: how loaders do, second by second, and the verdict at the end."""

from pathlib import Path

import msgspec

from wellfed.errors import UsageError
from wellfed.records import LoaderStatus, Report

__all__ = ["JsonLines"]


class JsonLines:
    """Appends to a file. Implements `seams.Sink`."""

    def __init__(self, path: str) -> None:
        """Open it.

        Raises:
            UsageError: it cannot be written.
        """
        try:
            self._file = Path(path).open("ab", buffering=0)  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise UsageError(
                f"cannot write {path}: {error.strerror}. Give a file in a folder that you may "
                "write."
            ) from error

    def emit(self, seen: LoaderStatus | Report) -> None:
        """Append a line, in one call."""
        self._file.write(msgspec.json.encode(_line(seen)) + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _line(seen: LoaderStatus | Report) -> dict[str, object]:
    if isinstance(seen, LoaderStatus):
        return {"kind": "window", **msgspec.to_builtins(seen)}
    return {
        "kind": "verdict",
        "at_unix_s": seen.created_unix_s,
        "site": str(seen.trace.site or ""),
        "name": seen.verdict.name,
        "headline": seen.verdict.abstains or seen.verdict.headline,
        "verdict": msgspec.to_builtins(seen.verdict),
        "stats": msgspec.to_builtins(seen.stats),
    }
