"""Execution devices: which there are, and the ONNX Runtime provider behind each.

A device that is asked for by name and is not there is an error; nothing falls back in silence.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from roentmod_fast.errors import DeviceError

DEVICES = ("auto", "cpu", "openvino", "cuda", "rtx", "tensorrt")


@dataclass(frozen=True)
class Device:
    """A device as the user names it, ONNX Runtime's ``provider`` for it, and the precision it runs by default."""

    name: str
    provider: str
    precision: str


CPU = Device("cpu", "CPUExecutionProvider", "fp32")


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
    import_onnxruntime()
    if name in ("auto", CPU.name):
        return CPU
    raise DeviceError(f"device {name!r} is not supported by this version: use --device cpu")


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
