"""Sessions of ONNX Runtime, one way to open a network for each device."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roentmod_fast.engine.devices import Device, import_onnxruntime, openvino_ep_device, physical_cores
from roentmod_fast.errors import DeviceError, EngineError

BATCH_DIMENSION = "batch"
"""The name that the exporter gives to the free first dimension of every input."""


def open_session(path: Path, device: Device, cache: Path | None = None) -> Any:
    """Open an ONNX file on ``device``; ``cache`` is a folder for what the device compiles.

    Raises :class:`EngineError` where the file cannot be opened, :class:`DeviceError` where it would run elsewhere.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = physical_cores()
    # One picture at a time, see Network.run: with all shapes known memory is planned ahead, and half as much taken.
    options.add_free_dimension_override_by_name(BATCH_DIMENSION, 1)
    arguments: dict[str, Any] = {}
    if device.name == "openvino":
        # Nothing falls back in silence: a network that OpenVINO does not take whole cannot be opened.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        wishes = openvino_options()
        plugin = openvino_ep_device()
        if plugin is None:
            arguments["providers"] = [(device.provider, wishes)]
        else:
            options.add_provider_for_devices([plugin], wishes)
    else:
        arguments["providers"] = [device.provider]
    try:
        session = ort.InferenceSession(str(path), options, **arguments)
    except Exception as error:  # onnxruntime raises classes of its own, none of them public
        reason = str(error).splitlines()[0]
        raise EngineError(f"{path}: ONNX Runtime cannot open it on {device.name}: {reason}") from error
    providers = session.get_providers()
    if providers[0] != device.provider:
        raise DeviceError(f"{path}: asked for {device.provider}, got {providers[0]}: see 'roentmod-fast doctor'")
    return session


def openvino_options() -> Mapping[str, str]:
    """Return the provider options of OpenVINO: arithmetic in float32, as the file says.

    Left alone, OpenVINO computes in bfloat16 where the processor can, which is another result. Its cache of compiled
    networks is left off: opening a network of 950 MB took 11.6 s with it and 8 to 10 s without.
    """
    return {"precision": "FP32", "num_of_threads": str(physical_cores())}


def cache_folder() -> Path:
    """Return this user's folder for what can be made again; it need not exist."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "roentmod-fast"
