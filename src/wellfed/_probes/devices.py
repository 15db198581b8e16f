"""The GPUs, as NVIDIA's management library shows them; no CUDA context is made."""

from typing import Any

from wellfed._probes.files import Unreadable
from wellfed._probes.probe import probe
from wellfed.records import Fact, Gpu

__all__ = ["gpus"]


@probe
def gpus() -> Fact[tuple[Gpu, ...]]:
    """All GPUs of the machine, whatever CUDA_VISIBLE_DEVICES leaves of them."""
    try:
        import pynvml
    except ImportError as error:
        raise Unreadable(f"cannot import pynvml (pip install nvidia-ml-py): {error}") from error
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded) as error:
        return Fact(value=(), how=f"none: {error}")
    try:
        found = tuple(_describe(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount()))
    finally:
        pynvml.nvmlShutdown()
    return Fact(value=found, how="NVML")


def _describe(nvml: Any, index: int) -> Gpu:
    device = nvml.nvmlDeviceGetHandleByIndex(index)
    name = nvml.nvmlDeviceGetName(device)
    try:
        busy_share = nvml.nvmlDeviceGetUtilizationRates(device).gpu / 100
    except nvml.NVMLError:  # GPUs cut into MIG instances do not say
        busy_share = None
    return Gpu(
        index=index,
        name=name.decode() if isinstance(name, bytes) else name,  # bytes before nvidia-ml-py 12
        memory_bytes=nvml.nvmlDeviceGetMemoryInfo(device).total,
        busy_share=busy_share,
    )
