"""The software this process runs on, and the limits that were set for it."""

import multiprocessing
import platform
import sys
from importlib import metadata

from wellfed._probes.files import Unreadable
from wellfed._probes.probe import probe
from wellfed.records import Fact

__all__ = [
    "fd_limit",
    "platform_name",
    "python_version",
    "start_method",
    "threads_intra_op",
    "torch_version",
]


@probe
def platform_name() -> Fact[str]:
    """Operating system, kernel and architecture in one line."""
    return Fact(value=platform.platform(), how="platform.platform()")


@probe
def python_version() -> Fact[str]:
    """Implementation and version of the interpreter."""
    name = platform.python_implementation()
    return Fact(value=f"{name} {platform.python_version()}", how="sys.version")


@probe
def torch_version() -> Fact[str]:
    """Version of the torch that is loaded, else of the one that is installed. Loads nothing."""
    if (loaded := getattr(sys.modules.get("torch"), "__version__", None)) is not None:
        return Fact(value=str(loaded), how="torch.__version__")
    try:
        return Fact(value=metadata.version("torch"), how="installed metadata; torch is not loaded")
    except metadata.PackageNotFoundError:
        raise Unreadable("none: torch is not installed") from None


@probe
def threads_intra_op() -> Fact[int]:
    """Threads that one torch operation may use in this process."""
    count = getattr(sys.modules.get("torch"), "get_num_threads", None)
    if count is None:
        raise Unreadable("torch is not loaded")
    return Fact(value=int(count()), how="torch.get_num_threads()")


@probe
def fd_limit() -> Fact[int]:
    """Soft limit of open files."""
    import resource  # not on Windows, where the probe then says so

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        raise Unreadable("none: RLIMIT_NOFILE is unlimited")
    return Fact(value=soft, how="RLIMIT_NOFILE")


@probe
def start_method() -> Fact[str]:
    """How multiprocessing starts processes by default; asking does not settle it."""
    chosen = multiprocessing.get_start_method(allow_none=True)
    if chosen is not None:
        return Fact(value=chosen, how="multiprocessing.get_start_method()")
    # Documented order: the platform's default comes first.
    return Fact(value=multiprocessing.get_all_start_methods()[0], how="default of this platform")
