"""Tasks for a process that has the fake GPU: ``python -m tests.cuda.on_cuda TASK`` prints a result as JSON."""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from roentmod_fast.bundle.bundle import read_bundle
from roentmod_fast.bundle.manifest import INPUTS, TYPES
from roentmod_fast.errors import RoentmodError
from roentmod_fast.runtime.backends.base import Backend, SessionSpec
from roentmod_fast.runtime.backends.cuda import CUDA
from roentmod_fast.runtime.backends.tensorrt_rtx import RTX
from roentmod_fast.runtime.networks import Network, Networks

HALF = Path(__file__).parents[1] / "goldens" / "tiny_half"


def given(network: Network) -> dict[str, Any]:
    """Return what a UNet is asked in a guided call."""
    return {
        name: np.ones((2, *network.inputs[name][1:]), TYPES[port.type]) for name, port in INPUTS[network.role].items()
    }


def counts() -> np.ndarray:
    """Return the launches and the replays of graphs so far."""
    library = ctypes.CDLL("libcudart.so.13")
    return np.array([library.fake_launches(), library.fake_replays()])


def count(network: Network) -> list[int]:
    """Run a UNet once; return how many launches and replays that took."""
    before = counts()
    network.run(**given(network))
    return [int(number) for number in counts() - before]


def runs() -> list[list[int]]:
    """Count four runs of the UNet as an edit opens it."""
    opened = Networks.open(read_bundle(HALF), CUDA, "fp16")
    return [count(opened.unet) for _ in range(4)]


def graphs() -> dict[str, int]:
    """Count a run of each graph of the UNet, without CUDA graphs."""
    launches = {}
    for kind in ("plain", "fused", "cuda"):
        path = HALF / f"unet.fp16.{kind}.onnx".replace(".plain", "")
        network = Network(CUDA, SessionSpec("unet", path, fp16=True, max_batch=2))
        count(network)
        launches[kind] = count(network)[0]
    return launches


def gate() -> int:
    """Run the gate of a feed-forward layer, which the tiny network has in a width without kernel; count launches."""
    session = CUDA.open_session(SessionSpec("unet", HALF.with_name("gate.cuda.onnx"), fp16=True))
    before = counts()
    session.run(None, {"x": np.ones((1, 4, 2560), np.float16)})
    return int((counts() - before)[0])


def set_options(**more: str) -> None:
    """Give the provider ``more`` options from now on, in all of this process."""
    for device in (CUDA, RTX):
        ours = device.provider_options
        device.provider_options = lambda spec, ours=ours: {**ours(spec), **more}  # type: ignore[method-assign]


def open_engine(engine: Path, device: Backend, batch: int = 1) -> Networks:
    """Open an engine in fp16 where it has that, else in float32."""
    bundle = read_bundle(engine)
    return Networks.open(bundle, device, "fp16" if "fp16" in bundle.manifest.networks else "fp32", batch=batch)


def error_of(engine: Path, device: Backend) -> str | None:
    """Open an engine; return what fails."""
    try:
        open_engine(engine, device)
    except RoentmodError as error:
        return str(error)
    return None


def unknown_option() -> str | None:
    """Give the provider an option that it does not have; return the error."""
    set_options(enable_fake="1")
    return error_of(HALF, CUDA)


if __name__ == "__main__":
    print(json.dumps({task.__name__: task for task in (runs, graphs, gate, unknown_option)}[sys.argv[1]]()))
