"""The line of a script at which something was made."""

from wellfed.records._record import Record

__all__ = ["Site"]


class Site(Record, frozen=True, kw_only=True):
    """The line that built a loader: how loaders are told apart."""

    file: str
    line: int
    function: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"
