"""The devices, and the choice of one. Each is one file beside this one, and one line of the registry.

Nothing heavy is imported before a device is asked for, so that the command line can list their names.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from roentmod_fast.errors import DeviceError

if TYPE_CHECKING:
    from roentmod_fast.runtime.backends.base import Backend

AUTO = "auto"
"""The name that stands for the best device present."""

REGISTRY = {
    "cpu": "roentmod_fast.runtime.backends.cpu:CPU",
    "openvino": "roentmod_fast.runtime.backends.openvino:OPENVINO",
    "cuda": "roentmod_fast.runtime.backends.cuda:CUDA",
    "rtx": "roentmod_fast.runtime.backends.tensorrt_rtx:RTX",
    "tensorrt": "roentmod_fast.runtime.backends.tensorrt:TENSORRT",
}
"""The module and the object of each device, a :class:`~.base.Backend`, by its name."""

NO_ONNXRUNTIME = (
    "no onnxruntime installed: type pip install 'roentmod-fast[cpu]' (or [gpu] with an NVIDIA GPU, never both)"
)


def choices() -> tuple[str, ...]:
    """Return what ``--device`` takes."""
    return (AUTO, *REGISTRY)


def get(name: str) -> Backend:
    """Return the device of this name."""
    module, _, attribute = REGISTRY[name].partition(":")
    backend: Backend = getattr(importlib.import_module(module), attribute)
    return backend


def every() -> tuple[Backend, ...]:
    """Return all devices, present or not."""
    return tuple(get(name) for name in REGISTRY)


def automatic() -> tuple[Backend, ...]:
    """Return what ``auto`` tries, in order."""
    ranked = [(device.auto_rank, device) for device in every() if device.auto_rank is not None]
    return tuple(device for _, device in sorted(ranked, key=lambda pair: pair[0]))


def choose_device(name: str = AUTO) -> Backend:
    """Return the device ``name``; ``auto`` is the best one present. Nothing falls back in silence.

    Raises :class:`DeviceError` where ``name`` is unknown or cannot be used here.
    """
    return usable_devices(name)[0]


def usable_devices(name: str = AUTO) -> tuple[Backend, ...]:
    """Return the devices that ``name`` may stand for here, best first.

    More than one only where the best for ``auto`` is a CPU: which is faster there is a matter of the machine. Raises
    :class:`DeviceError` as :func:`choose_device` does.
    """
    if name not in choices():
        raise DeviceError(f"unknown device {name!r}: expected one of {', '.join(choices())}")
    if name != AUTO:
        device = get(name)
        missing = device.missing()
        if missing is not None:
            raise DeviceError(f"device {name!r} is absent: {missing}")
        return (device,)
    present = [device for device in automatic() if device.missing() is None]
    if not present:
        raise DeviceError(NO_ONNXRUNTIME)
    return (present[0],) if present[0].is_gpu else tuple(device for device in present if not device.is_gpu)
