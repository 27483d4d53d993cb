"""NVIDIA GPUs, as the driver's management library (NVML) describes them; asking does not wake them up."""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CUDA_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
NVML_PACKAGE = "nvidia-ml-py"
"""The Python side of NVML; its module is ``pynvml``."""

CUDA_MAJOR = 13
"""What the plugin for RTX GPUs is built with, and onnxruntime-gpu of late."""
OLDEST_DRIVER = 580
"""The first driver for it."""


@dataclass(frozen=True)
class GPU:
    """One GPU: ``architecture`` such as ``sm89``, ``driver`` version, ``memory`` in bytes, ``pci_bus`` address."""

    name: str
    architecture: str
    driver: str
    memory: int
    pci_bus: str

    @property
    def key(self) -> str:
        """What a compiled network depends on, fit for a folder's name: GPU, architecture and driver."""
        words = f"{self.name} {self.architecture} {self.driver}"
        return "".join(letter if letter.isalnum() or letter == "." else "-" for letter in words).lower()


def load_library(name: str) -> Any:
    """Load a shared library by name. Raises :class:`OSError`."""
    return ctypes.CDLL(name)


def has_driver() -> bool:
    """Return whether :data:`CUDA_LIBRARY` is there, without which nothing runs on a GPU."""
    try:
        load_library(CUDA_LIBRARY)
    except OSError:
        return False
    return True


def too_old(major: int = CUDA_MAJOR) -> str | None:
    """Return that the driver is too old for this major version of CUDA, None where it is not or does not tell.

    Checks the CUDA version that the driver supports rather than the driver version: NVIDIA's packages for forward
    compatibility support later ones on an old driver.
    """
    try:
        library = load_library(CUDA_LIBRARY)
    except OSError:
        return None
    version = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(version)) != 0 or version.value >= 1000 * major:
        return None
    runs = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return f"the NVIDIA driver runs CUDA {runs}, and CUDA {major} is needed"


def driver_missing(cuda: int) -> str | None:
    """Return what to install where there is no NVIDIA driver for this major version of CUDA, None where there is."""
    remedy = f"install NVIDIA's driver, version {OLDEST_DRIVER} or later; pip has none"
    if not has_driver():
        return f"no NVIDIA driver ({CUDA_LIBRARY} not found): {remedy}"
    old = too_old(cuda)
    return None if old is None else f"{old}: {remedy}"


def gpu_missing() -> str | None:
    """Return why no NVIDIA GPU is found, None where there is one."""
    if list_gpus():
        return None
    if not has_nvml():
        return f"{NVML_PACKAGE} is not installed, so GPUs cannot be found: type pip install {NVML_PACKAGE}"
    return "no NVIDIA GPU was found: see what nvidia-smi says"


def has_nvml() -> bool:
    """Return whether :data:`NVML_PACKAGE` is installed, without which no GPU is found."""
    return _import_nvml() is not None


def _import_nvml() -> Any:
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None


def list_gpus() -> tuple[GPU, ...]:
    """Return the GPUs of this machine, in the order of the PCI bus; none where NVML is not there to ask."""
    nvml = _import_nvml()
    if nvml is None:
        return ()

    def ask(function: Callable[..., Any], *arguments: Any, default: Any = None) -> Any:
        try:
            return function(*arguments)
        except nvml.NVMLError:
            return default

    def describe(index: int) -> GPU | None:
        handle = ask(nvml.nvmlDeviceGetHandleByIndex, index)
        capability = None if handle is None else ask(nvml.nvmlDeviceGetCudaComputeCapability, handle)
        if capability is None:
            return None
        memory, pci = ask(nvml.nvmlDeviceGetMemoryInfo, handle), ask(nvml.nvmlDeviceGetPciInfo, handle)
        return GPU(
            name=ask(nvml.nvmlDeviceGetName, handle, default=""),
            architecture=f"sm{capability[0]}{capability[1]}",
            driver=ask(nvml.nvmlSystemGetDriverVersion, default=""),
            memory=0 if memory is None else memory.total,
            pci_bus="" if pci is None else f"{pci.domain:04x}:{pci.bus:02x}:{pci.device:02x}.0",
        )

    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return ()
    try:
        found = [describe(index) for index in range(ask(nvml.nvmlDeviceGetCount, default=0))]
        return tuple(gpu for gpu in found if gpu is not None)
    finally:
        nvml.nvmlShutdown()
