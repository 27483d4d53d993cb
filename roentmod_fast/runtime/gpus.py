"""NVIDIA cards, as the driver's own management library (NVML) describes them.

Nothing has to be installed for it but the driver, and no card is woken up by asking.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Any

CUDA_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
NVML_LIBRARY = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
CUDA_MAJOR = 13
"""What the plugin for RTX cards is built with, and onnxruntime-gpu of late."""
OLDEST_DRIVER = 580
"""The first driver for it."""


@dataclass(frozen=True)
class Card:
    """One card: ``architecture`` such as ``sm89``, ``driver`` version, ``memory`` in bytes, ``pci_bus`` address."""

    name: str
    architecture: str
    driver: str
    memory: int
    pci_bus: str

    @property
    def key(self) -> str:
        """What a compiled network depends on, fit for a folder's name: card, architecture and driver."""
        words = f"{self.name} {self.architecture} {self.driver}"
        return "".join(letter if letter.isalnum() or letter == "." else "-" for letter in words).lower()


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _Pci(ctypes.Structure):
    _fields_ = (
        ("legacy", ctypes.c_char * 16),
        ("domain", ctypes.c_uint),
        ("bus", ctypes.c_uint),
        ("device", ctypes.c_uint),
        ("pci_device_id", ctypes.c_uint),
        ("pci_subsystem_id", ctypes.c_uint),
        ("bus_id", ctypes.c_char * 32),
    )


def load_library(name: str) -> Any:
    """Load a shared library by name. Raises :class:`OSError`."""
    return ctypes.CDLL(name)


def has_driver() -> bool:
    """Return whether :data:`CUDA_LIBRARY` is there, without which nothing runs on a card."""
    try:
        load_library(CUDA_LIBRARY)
    except OSError:
        return False
    return True


def too_old(major: int = CUDA_MAJOR) -> str | None:
    """Say that the driver is too old for this major version of CUDA, None where it is not or does not tell.

    It is asked what it runs, not which it is: NVIDIA's packages for forward compatibility run more on an old one.
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


def list_cards() -> tuple[Card, ...]:
    """Return the cards of this machine, in the order of the bus; none where there is no NVML to ask."""
    try:
        nvml = load_library(NVML_LIBRARY)
    except OSError:
        return ()
    if nvml.nvmlInit_v2() != 0:
        return ()
    try:
        count = ctypes.c_uint()
        if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
            return ()
        driver = ctypes.create_string_buffer(96)
        nvml.nvmlSystemGetDriverVersion(driver, ctypes.c_uint(len(driver)))
        found = (_describe(nvml, index, driver.value.decode()) for index in range(count.value))
        return tuple(card for card in found if card is not None)
    finally:
        nvml.nvmlShutdown()


def _describe(nvml: Any, index: int, driver: str) -> Card | None:
    handle = ctypes.c_void_p()
    if nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)) != 0:
        return None
    name, memory, pci = ctypes.create_string_buffer(96), _Memory(), _Pci()
    major, minor = ctypes.c_int(), ctypes.c_int()
    if nvml.nvmlDeviceGetCudaComputeCapability(handle, ctypes.byref(major), ctypes.byref(minor)) != 0:
        return None
    nvml.nvmlDeviceGetName(handle, name, ctypes.c_uint(len(name)))
    nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
    nvml.nvmlDeviceGetPciInfo_v3(handle, ctypes.byref(pci))
    return Card(
        name=name.value.decode("utf-8", "replace"),
        architecture=f"sm{major.value}{minor.value}",
        driver=driver,
        memory=memory.total,
        pci_bus=f"{pci.domain:04x}:{pci.bus:02x}:{pci.device:02x}.0",
    )
