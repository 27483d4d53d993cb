"""Execution devices: which there are, and the ONNX Runtime provider behind each.

A device that is asked for by name and is not there is an error; nothing falls back in silence.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from roentmod_fast.errors import DeviceError

DEVICES = ("auto", "cpu", "openvino", "cuda", "rtx", "tensorrt")


@dataclass(frozen=True)
class Device:
    """A device as the user names it, ONNX Runtime's ``provider`` for it, and the precision it runs by default."""

    name: str
    provider: str
    precision: str


CPU = Device("cpu", "CPUExecutionProvider", "fp32")
OPENVINO = Device("openvino", "OpenVINOExecutionProvider", "fp32")

OPENVINO_PLUGIN = "onnxruntime_ep_openvino"
_registration = threading.Lock()


def import_onnxruntime() -> ModuleType:
    """Import onnxruntime. Raises :class:`DeviceError` with the line to type where it is not installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise DeviceError(
            "no onnxruntime installed: type pip install 'roentmod-fast[cpu]' (or [gpu] with an NVIDIA card, never both)"
        )
    return importlib.import_module("onnxruntime")


def choose_device(name: str = "auto") -> Device:
    """Return the device for ``name``; ``auto`` is the best one present.

    Raises :class:`DeviceError` where ``name`` is unknown or cannot be used here.
    """
    if name not in DEVICES:
        raise DeviceError(f"unknown device {name!r}: expected one of {', '.join(DEVICES)}")
    ort = import_onnxruntime()
    if name in ("auto", CPU.name):
        return CPU
    if name == OPENVINO.name:
        if openvino_ep_device() is None and OPENVINO.provider not in ort.get_available_providers():
            raise DeviceError(f"device {name!r} is absent: {_openvino_remedy()}")
        return OPENVINO
    raise DeviceError(f"device {name!r} is not supported by this version: use --device cpu")


def openvino_ep_device() -> Any:
    """Return the processor as ONNX Runtime's OpenVINO plugin offers it, None where there is no plugin or no offer.

    The plugin is registered on the first call. Up to version 1.8 it offers processors of Intel only.
    """
    if importlib.util.find_spec(OPENVINO_PLUGIN) is None:
        return None
    ort = import_onnxruntime()
    plugin = importlib.import_module(OPENVINO_PLUGIN)
    name = plugin.get_ep_name()
    with _registration:
        if not any(device.ep_name == name for device in ort.get_ep_devices()):
            try:
                ort.register_execution_provider_library(name, plugin.get_library_path())
            except Exception as error:  # onnxruntime raises classes of its own; a second registration is no error
                if "already registered" not in str(error):
                    reason = str(error).splitlines()[0]
                    raise DeviceError(f"{OPENVINO_PLUGIN} cannot be loaded: {reason}") from error
    offered = [device for device in ort.get_ep_devices() if device.ep_name == name]
    return next((device for device in offered if device.ep_metadata.get("ov_device") == "CPU"), None)


def _openvino_remedy() -> str:
    if importlib.util.find_spec(OPENVINO_PLUGIN) is None:
        return "type pip install 'roentmod-fast[openvino]'"
    return (
        "the plugin onnxruntime-ep-openvino offers no processor here (it serves those of Intel only): type "
        "pip uninstall onnxruntime onnxruntime-ep-openvino && pip install onnxruntime-openvino"
    )


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
