"""Execution devices: which there are, and what runs networks on each: a provider of ONNX Runtime, or OpenVINO.

A device that is asked for by name and is not there is an error; nothing falls back in silence.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.metadata
import importlib.util
import io
import os
import re
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from roentmod_fast import telemetry
from roentmod_fast.errors import DeviceError
from roentmod_fast.runtime import gpus as nvidia
from roentmod_fast.runtime import ort_log
from roentmod_fast.runtime.ort_errors import reason_of

DEVICES = ("auto", "cpu", "openvino", "cuda", "rtx", "tensorrt")

NO_ONNXRUNTIME = (
    "no onnxruntime installed: type pip install 'roentmod-fast[cpu]' (or [gpu] with an NVIDIA card, never both)"
)

RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
"""Distributions that all own the module ``onnxruntime``: two of them at once break each other."""


@dataclass(frozen=True)
class Device:
    """A device as the user names it, ONNX Runtime's ``provider`` for it, and the precision it runs by default.

    OpenVINO is no provider of ONNX Runtime here and goes by its own name.
    """

    name: str
    provider: str
    precision: str


CPU = Device("cpu", "CPUExecutionProvider", "fp32")
OPENVINO = Device("openvino", "OpenVINO", "fp32")
CUDA = Device("cuda", "CUDAExecutionProvider", "fp16")
RTX = Device("rtx", "NvTensorRTRTXExecutionProvider", "fp16")
TENSORRT = Device("tensorrt", "TensorrtExecutionProvider", "fp16")

GPU_DEVICES = (CUDA, RTX, TENSORRT)
BY_NAME = {device.name: device for device in (CPU, OPENVINO, CUDA, RTX, TENSORRT)}
AUTOMATIC = (RTX, CUDA, OPENVINO, CPU)
"""What ``auto`` tries, in order; OpenVINO is quicker than ONNX Runtime's own provider.
Classic TensorRT, which compiles for minutes, is no surprise."""

OLDEST_OPENVINO = 2026
RTX_PACKAGE = "onnxruntime-ep-nv-tensorrt-rtx"
RTX_MODULE = RTX_PACKAGE.replace("-", "_")
"""The plugin: a provider that is a package of its own, which onnxruntime loads when it is told to."""

RTX_ARCHITECTURES = ("sm86", "sm89", "sm120", "sm121")
"""What the plugin is known to take: Ampere, Ada, Blackwell (twice). TensorRT for RTX builds for older ones too."""

RTX_CARDS = "GeForce RTX 30, 40, 50 and RTX PRO: sm86, sm89, sm120 and later"

_registration = threading.Lock()


def import_onnxruntime() -> ModuleType:
    """Import onnxruntime. Raises :class:`DeviceError` with the line to type where it is not installed."""
    if not _has_onnxruntime():
        raise DeviceError(NO_ONNXRUNTIME)
    ort = importlib.import_module("onnxruntime")
    ort_log.apply(ort)
    if telemetry.is_refused() and hasattr(ort, "disable_telemetry_events"):
        ort.disable_telemetry_events()  # Windows does not read the variable
    return ort


def import_openvino() -> ModuleType:
    """Import openvino. Raises :class:`DeviceError` with the line to type where it is not installed."""
    missing = _openvino_lacks()
    if missing is not None:
        raise DeviceError(f"no openvino to use: {missing}")
    if "openvino" in sys.modules:
        return importlib.import_module("openvino")  # which waits for a thread that is at it
    with telemetry.without_reporter():
        return importlib.import_module("openvino")


def _has_onnxruntime() -> bool:
    return importlib.util.find_spec("onnxruntime") is not None


def choose_device(name: str = "auto") -> Device:
    """Return the device for ``name``; ``auto`` is the best one present.

    Raises :class:`DeviceError` where ``name`` is unknown or cannot be used here.
    """
    if name not in DEVICES:
        raise DeviceError(f"unknown device {name!r}: expected one of {', '.join(DEVICES)}")
    if name == "auto":
        present = [device for device in AUTOMATIC if what_is_missing(device) is None]
        if not present:
            raise DeviceError(NO_ONNXRUNTIME)
        return present[0]
    device = BY_NAME[name]
    missing = what_is_missing(device)
    if missing is not None:
        raise DeviceError(f"device {name!r} is absent: {missing}")
    return device


def what_is_missing(device: Device) -> str | None:
    """Say what ``device`` lacks here and what to type, None where nothing is missing that can be known beforehand."""
    if device == OPENVINO:
        return _openvino_lacks()
    if not _has_onnxruntime():
        return NO_ONNXRUNTIME if device == CPU else f"type {pip_line(extra_of(device))}"
    if device == CPU:
        return None
    return _rtx_lacks() if device == RTX else _cuda_lacks(device)


def bfloat16_lacks(device: Device) -> str | None:
    """Say why ``device`` does not compute in bfloat16 here, None where it does."""
    if device != OPENVINO:
        return f"device {device.name} computes as the networks' files say, only {OPENVINO.name} in bfloat16"
    if "BF16" not in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return "OpenVINO does not compute in bfloat16 on this processor"
    return None


def _openvino_lacks() -> str | None:
    version = version_of("openvino")
    if version is None or importlib.util.find_spec("openvino") is None:
        return f"type {pip_line('openvino')}"
    if int(version.partition(".")[0]) < OLDEST_OPENVINO:
        return f"openvino {version} is too old, expected {OLDEST_OPENVINO} or later: type {pip_line('openvino')}"
    return None


def _rtx_lacks() -> str | None:
    if not _has_rtx_plugin():
        return f"type {pip_line('rtx')}"
    driver = _driver_lacks(nvidia.CUDA_MAJOR)
    if driver is not None:
        return driver
    try:
        if rtx_ep_device() is not None:
            return None
    except DeviceError as error:
        return str(error)
    cards = nvidia.list_cards()
    seen = ", ".join(f"{card.name} ({card.architecture})" for card in cards) or "no NVIDIA card"
    hint = f": type {pip_line('gpu')} and --device cuda" if cards else ""
    return f"the plugin {RTX_PACKAGE}, which takes {RTX_CARDS}, offers no card here; there is {seen}{hint}"


def _cuda_lacks(device: Device) -> str | None:
    if device.provider not in import_onnxruntime().get_available_providers():
        return f"this onnxruntime is built without it: type {pip_line(extra_of(device))}"
    driver = _driver_lacks(cuda_major())
    if driver is not None:
        return driver
    return None if nvidia.list_cards() else "no NVIDIA card was found: see what nvidia-smi says"


def _driver_lacks(cuda: int) -> str | None:
    remedy = f"install NVIDIA's driver, version {nvidia.OLDEST_DRIVER} or later; pip has none"
    if not nvidia.has_driver():
        return f"no NVIDIA driver ({nvidia.CUDA_LIBRARY} not found): {remedy}"
    old = nvidia.too_old(cuda)
    return None if old is None else f"{old}: {remedy}"


def cuda_major() -> int:
    """Return the major version of CUDA that onnxruntime-gpu is built with, the latest known where it does not say."""
    try:
        said = str(importlib.import_module("onnxruntime.capi.build_and_package_info").cuda_version)
    except (ImportError, AttributeError):
        return nvidia.CUDA_MAJOR
    major = said.partition(".")[0]
    return int(major) if major.isdigit() else nvidia.CUDA_MAJOR


def extra_of(device: Device) -> str:
    """Return the extra of this package that brings ``device``."""
    return "gpu" if device == CUDA else device.name


def pip_line(extra: str) -> str:
    """Return what to type to install ``extra``, without leaving two onnxruntimes over each other."""
    line = f"pip install 'roentmod-fast[{extra}]'"
    if extra == OPENVINO.name:
        return line
    owner = "onnxruntime-gpu" if extra in ("gpu", "tensorrt") else "onnxruntime"
    others = [name for name in RUNTIMES if name != owner and version_of(name) is not None]
    return f"pip uninstall {' '.join(others)} && {line}" if others else line


def version_of(distribution: str) -> str | None:
    """Return the installed version of a distribution, None where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


# --- the plugin for RTX cards -----------------------------------------------------------------------------------------


def rtx_version() -> str | None:
    """Return the plugin's version, None where it is not installed: the package may be the one for a version of CUDA."""
    return version_of(RTX_PACKAGE) or version_of(f"{RTX_PACKAGE}-cu{nvidia.CUDA_MAJOR}")


def _has_rtx_plugin() -> bool:
    return importlib.util.find_spec(RTX_MODULE) is not None


def rtx_ep_device() -> Any:
    """Return the first card that the plugin offers to run on, None where there is no plugin or no offer.

    It is registered with onnxruntime on the first call. Raises :class:`DeviceError` where it cannot be loaded.
    """
    if not _has_rtx_plugin():
        return None
    ort = import_onnxruntime()
    module = importlib.import_module(RTX_MODULE)
    name = module.get_ep_name()
    with _registration:
        if not any(device.ep_name == name for device in ort.get_ep_devices()):
            _load_bundled_cuda(Path(module.get_library_path()).parent)
            try:
                ort.register_execution_provider_library(name, module.get_library_path())
            except Exception as error:  # onnxruntime raises classes of its own; a second registration is no error
                if "already registered" not in str(error):
                    raise DeviceError(f"{RTX_PACKAGE} cannot be loaded: {reason_of(error)}") from error
    return next((device for device in ort.get_ep_devices() if device.ep_name == name), None)


def _load_bundled_cuda(folder: Path) -> None:
    """Load CUDA's runtime as the plugin for RTX cards brings it, under a name that the loader does not look for.

    The Linux wheel 0.5.0 holds ``libcudart.so.13.4.36`` and no ``libcudart.so.13``, which the plugin asks for.
    """
    for path in sorted(folder.glob("libcudart.so.*.*")):
        with contextlib.suppress(OSError):  # the registration says what is missing
            ctypes.CDLL(str(path))


def card_of(ep_device: Any) -> nvidia.Card | None:
    """Return the card behind an offer of a plugin, by its address on the bus; None where that does not tell.

    Windows gives no address: there the only card is meant, and of several none.
    """
    cards = nvidia.list_cards()
    address = str(ep_device.device.metadata.get("pci_bus_id", "")).lower()
    matching = [card for card in cards if card.pci_bus == address] if address else list(cards)
    return matching[0] if len(matching) == 1 else None


# --- onnxruntime-gpu --------------------------------------------------------------------------------------------------


def preload_libraries(device: Device) -> None:
    """Load CUDA, cuDNN and TensorRT where pip has put them, which the loader of the system would not find."""
    ort = import_onnxruntime()
    if hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            ort.preload_dlls(directory="")
    if device == TENSORRT and importlib.util.find_spec("tensorrt") is not None:
        importlib.import_module("tensorrt")


def missing_library(device: Device) -> str | None:
    """Return the first library that the provider of ``device`` does not find, None where that is not known."""
    ort = import_onnxruntime()
    path = Path(str(ort.__file__)).parent / "capi" / f"libonnxruntime_providers_{device.name}.so"
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        found = re.match(r"(\S+): cannot open shared object file", str(error))
        if found and not found.group(1).startswith(str(path)):
            return found.group(1)
    return None


def physical_cores() -> int:
    """Return how many threads the networks should use: the physical cores this process may run on.

    Two hardware threads of one core share its vector units, so a second one gains nothing in a matrix product.
    """
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1
    cores = set()
    for cpu in allowed:
        folder = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        try:
            cores.add(((folder / "physical_package_id").read_text(), (folder / "core_id").read_text()))
        except OSError:
            return len(allowed)
    return max(1, len(cores))
