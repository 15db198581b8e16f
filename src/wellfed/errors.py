"""What can go wrong, as one tree.

    WellfedError                     everything wellfed raises on purpose; carries an exit code
    ├── UsageError          (2)      the command or call cannot mean what was written
    │   └── PlanTooLarge    (2)      the workers do not fit in memory, or in open files
    ├── NoVerdict           (3)      it ran, and no verdict is possible; says why
    ├── ReportError         (2)      a report file cannot be read
    │   └── NewerReport     (2)      written by a later wellfed than this one
    ├── MissingExtra        (2)      an optional dependency is not installed; says what to install
    └── SharedMemoryFull    (3)      no memory is left to hand a batch over in

Every message has three parts: what happened, the value, what to do. Exceptions of the user's own
code are never wrapped: they pass with their own traceback.
"""

__all__ = [
    "MissingExtra",
    "NewerReport",
    "NoVerdict",
    "PlanTooLarge",
    "ReportError",
    "SharedMemoryFull",
    "UsageError",
    "WellfedError",
]


class WellfedError(Exception):
    """The root of everything wellfed raises on purpose."""

    exit_code: int = 3
    """What the command line exits with when this error ends it."""


class UsageError(WellfedError):
    """The command or the call cannot mean what was written."""

    exit_code = 2


class PlanTooLarge(UsageError):
    """The workers that were asked for do not fit; the message has the numbers, and how many do."""


class NoVerdict(WellfedError):
    """The script ran, and no verdict is possible; the message says why."""

    exit_code = 3


class ReportError(WellfedError):
    """A report file cannot be read; the message names the file and what is wrong with it."""

    exit_code = 2


class NewerReport(ReportError):
    """The report was written by a later version of wellfed than the one reading it."""


class MissingExtra(WellfedError):
    """An optional dependency is needed and not installed; the message says what to install."""

    exit_code = 2


class SharedMemoryFull(WellfedError):
    """No memory is left to hand a batch over in; the message says how much was wanted."""

    exit_code = 3
