"""The devices. Each is one file beside this one, and one line of the registry.

Nothing heavy is imported before a device is asked for, so that the command line can list their names.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

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
