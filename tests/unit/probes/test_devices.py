import sys
from types import SimpleNamespace
from typing import Any

import pytest

from wellfed._probes.devices import gpus
from wellfed.records import Fact, Gpu


class NVMLError(Exception):
    pass


class NoLibrary(NVMLError):
    pass


class NoDriver(NVMLError):
    pass


def nvml(**changes: Any) -> SimpleNamespace:
    """An NVML with one GPU."""

    def refuse(device: object) -> object:
        raise NVMLError("Not Supported")

    plain = {
        "NVMLError": NVMLError,
        "NVMLError_LibraryNotFound": NoLibrary,
        "NVMLError_DriverNotLoaded": NoDriver,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": lambda device: b"H100",
        "nvmlDeviceGetMemoryInfo": lambda device: SimpleNamespace(total=80),
        "nvmlDeviceGetUtilizationRates": refuse,
    }
    return SimpleNamespace(**plain | changes)


def test_a_gpu_that_does_not_tell_its_load_is_described_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml())

    assert gpus() == Fact(value=(Gpu(index=0, name="H100", memory_bytes=80),), how="NVML")


def test_no_driver_is_a_machine_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def init() -> None:
        raise NoLibrary("NVML Shared Library Not Found")

    monkeypatch.setitem(sys.modules, "pynvml", nvml(nvmlInit=init))

    assert gpus() == Fact(value=(), how="none: NVML Shared Library Not Found")


def test_a_driver_in_an_odd_state_is_no_machine_without_gpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def init() -> None:
        raise NVMLError("Insufficient Permissions")

    monkeypatch.setitem(sys.modules, "pynvml", nvml(nvmlInit=init))

    assert gpus() == Fact(how="cannot be read: NVMLError: Insufficient Permissions")


def test_without_the_package_the_reason_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert "pip install nvidia-ml-py" in gpus().how
