"""OpenVINO's own runtime, behind the methods of an ONNX Runtime session that a network uses.

OpenVINO reads the same ONNX files, on processors of any maker. By way of ONNX Runtime's provider it holds the weights
once more, and what it has compiled is slower to open again than to compile (see the performance page).

The networks of an int8 engine are kept as OpenVINO compiled them: finding the integer form of a graph is half of its
opening, and what is mapped from a kept file is given back to the system once it has been laid out anew in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.engine.bundle import Bundle
from roentmod_fast.engine.compiled import Plan
from roentmod_fast.engine.devices import OPENVINO, import_openvino, physical_cores
from roentmod_fast.engine.manifest import sha256_of, with_weights
from roentmod_fast.errors import EngineError

Array = NDArray[Any]
KEPT_SUFFIX = ".blob"
"""Of the file that holds a compiled network; its SHA-256 stands in a file beside it."""

MADV_PAGEOUT = 21
"""Advice to Linux, which Python has no name for: take these pages out of memory until they are read again."""

TYPES = {"f32": "tensor(float)", "i64": "tensor(int64)"}
"""ONNX Runtime's names of the types that networks of the contract take and give; others keep OpenVINO's name."""


@dataclass(frozen=True)
class OpenPort:
    """An input or output, described as ONNX Runtime does."""

    name: str
    type: str
    shape: tuple[int, ...]


class OpenVINOSession:
    """One network for batches of one, compiled for the processor."""

    def __init__(self, path: Path, keep: Path | None = None) -> None:
        """Open an ONNX file, or what an earlier session kept; ``keep`` is where to keep what is compiled now.

        Raises :class:`EngineError` where OpenVINO cannot open it.
        """
        openvino = import_openvino()
        core = openvino.Core()
        try:
            if path.suffix == KEPT_SUFFIX:
                self._compiled = self._import(core, path)
            else:
                model = core.read_model(path)
                model.reshape({port: [1, *list(port.partial_shape)[1:]] for port in model.inputs})
                self._compiled = core.compile_model(model, "CPU", settings())
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise EngineError(f"{path}: OpenVINO cannot open it: {reason}") from error
        if keep is not None:
            _keep(self._compiled, keep)
        self._inputs = [_described(port) for port in self._compiled.inputs]
        self._outputs = [_described(port) for port in self._compiled.outputs]
        self._request = self._compiled.create_infer_request()

    def _import(self, core: Any, path: Path) -> Any:
        """Open a kept network. What OpenVINO does not copy it reads from the file's pages as long as the session lives.

        The pages are private to this process, and the hint to the system loses nothing that might be written to them.
        """
        with path.open("rb") as file:
            self._pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        blob = import_openvino().Tensor(np.frombuffer(self._pages, dtype=np.uint8), shared_memory=True)
        compiled = core.import_model(blob, "CPU", settings())
        with contextlib.suppress(OSError, AttributeError):  # Linux 5.4 and later
            self._pages.madvise(MADV_PAGEOUT)
        return compiled

    def get_inputs(self) -> list[OpenPort]:
        return self._inputs

    def get_outputs(self) -> list[OpenPort]:
        return self._outputs

    def get_providers(self) -> list[str]:
        return [OPENVINO.provider]

    def release_memory(self) -> None:
        """Give back what the last run computed in, weights aside; the next run takes it anew."""
        self._compiled.release_memory()

    def run(self, names: Sequence[str], arrays: Mapping[str, Array]) -> list[Array]:
        """Run the network; the results are copies, which the next run leaves as they are."""
        self._request.infer(dict(arrays))
        return [np.array(self._request.get_tensor(name).data) for name in names]


def settings() -> dict[str, Any]:
    """Return OpenVINO's properties: arithmetic in float32, as the file says, on the physical cores.

    Left alone, OpenVINO computes in bfloat16 where the processor can, which is another result.
    """
    return {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": physical_cores(),
    }


def plan_on_openvino(bundle: Bundle, role: str, precision: str, cache: Path) -> Plan:
    """Choose what is opened for ``role``: the ONNX file, or what was kept of an int8 engine's network in ``cache``."""
    file = bundle.networks_of(precision)[role]
    plan = Plan(bundle.path(file), with_weights(file, bundle.manifest.files), cache)
    if precision != "int8":
        return plan
    kept = cache / _kept_name(file)
    if _is_whole(kept):
        return replace(plan, path=kept, files=(), compiled=True)
    return replace(plan, keep=kept)


def _kept_name(file: str) -> str:
    """Return under what name a compiled network is kept: another for each version, processor and settings."""
    openvino = import_openvino()
    processor = openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")
    key = repr((openvino.__version__, processor, sorted(settings().items())))
    return f"{file}.{hashlib.sha256(key.encode()).hexdigest()[:16]}{KEPT_SUFFIX}"


def _is_whole(kept: Path) -> bool:
    """Return whether there is a kept network, the same to the byte as it was written."""
    try:
        return sha256_of(kept) == _hash_path(kept).read_text(encoding="ascii")
    except OSError:
        return False


def _keep(compiled: Any, kept: Path) -> None:
    """Write a compiled network and its hash; where that fails, the next start compiles again."""
    part = kept.with_name(f"{kept.name}.{os.getpid()}")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(compiled.export_model().getbuffer())
        _hash_path(kept).write_text(sha256_of(part), encoding="ascii")
        part.replace(kept)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _hash_path(kept: Path) -> Path:
    return kept.with_name(f"{kept.name}.sha256")


def _described(port: Any) -> OpenPort:
    kind = port.element_type.get_type_name()
    return OpenPort(port.any_name, TYPES.get(kind, kind), tuple(port.shape))
