"""Choose a device. One that is asked for by name and is absent is an error; nothing falls back in silence."""

from __future__ import annotations

from roentmod_fast.errors import DeviceError
from roentmod_fast.runtime import backends
from roentmod_fast.runtime.backends.base import Backend
from roentmod_fast.runtime.backends.ort import NO_ONNXRUNTIME


def choose_device(name: str = backends.AUTO) -> Backend:
    """Return the device ``name``; ``auto`` is the best one present.

    Raises :class:`DeviceError` where ``name`` is unknown or cannot be used here.
    """
    return usable_devices(name)[0]


def usable_devices(name: str = backends.AUTO) -> tuple[Backend, ...]:
    """Return the devices that ``name`` may stand for here, best first.

    More than one only where the best for ``auto`` is a CPU: which is faster there is a matter of the machine. Raises
    :class:`DeviceError` as :func:`choose_device` does.
    """
    if name not in backends.choices():
        raise DeviceError(f"unknown device {name!r}: expected one of {', '.join(backends.choices())}")
    if name != backends.AUTO:
        device = backends.get(name)
        missing = device.missing()
        if missing is not None:
            raise DeviceError(f"device {name!r} is absent: {missing}")
        return (device,)
    present = [device for device in backends.automatic() if device.missing() is None]
    if not present:
        raise DeviceError(NO_ONNXRUNTIME)
    return (present[0],) if present[0].is_gpu else tuple(device for device in present if not device.is_gpu)
